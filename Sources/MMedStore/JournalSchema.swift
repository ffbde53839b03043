import GRDB

/// The journal's table, and the views that users query. docs/LINEAGE.md explains them; the statements are the file format.
enum JournalSchema {
    /// `PRAGMA user_version` of the file.
    static let version = 2

    static let tables = """
        CREATE TABLE record (
          seq INTEGER PRIMARY KEY,
          kind TEXT NOT NULL,
          stage INTEGER, track INTEGER, step INTEGER,
          question INTEGER, guideline INTEGER, sample INTEGER,
          body TEXT NOT NULL,
          bulk BLOB NOT NULL,
          chain BLOB NOT NULL
        ) STRICT;
        CREATE INDEX record_path ON record(stage, track, step, question, guideline, sample) WHERE kind = 'path';
        CREATE INDEX record_groups ON record(stage, track, step) WHERE kind = 'groups';
        CREATE INDEX record_void ON record(stage, track, step, question, guideline, sample)
          WHERE kind = 'drop' AND json_extract(body, '$.voided') = 1;
        CREATE UNIQUE INDEX record_update ON record(stage, track, step, json_extract(body, '$.update'))
          WHERE kind = 'update';
        CREATE UNIQUE INDEX record_merge ON record(stage) WHERE kind = 'merge';
        CREATE INDEX record_step ON record(stage, track, step);
        CREATE INDEX record_kind ON record(kind);
        CREATE TRIGGER path_once BEFORE INSERT ON record WHEN new.kind = 'path' AND EXISTS (
          SELECT 1 FROM record AS former WHERE former.kind = 'path'
            AND former.stage = new.stage AND former.track = new.track AND former.step = new.step
            AND former.question = new.question AND former.guideline = new.guideline AND former.sample = new.sample
            AND former.seq > coalesce((
              SELECT max(void.seq) FROM record AS void INDEXED BY record_void
                WHERE void.kind = 'drop' AND json_extract(void.body, '$.voided') = 1
                AND void.stage = new.stage AND void.track = new.track AND void.step = new.step
                AND void.question = new.question AND void.guideline = new.guideline AND void.sample = new.sample), 0))
          BEGIN SELECT RAISE(ABORT, 'the slot has a path already'); END;
        CREATE TRIGGER groups_once BEFORE INSERT ON record WHEN new.kind = 'groups' AND EXISTS (
          SELECT 1 FROM record AS former WHERE former.kind = 'groups'
            AND former.stage = new.stage AND former.track = new.track AND former.step = new.step
            AND former.seq > coalesce((
              SELECT max(void.seq) FROM record AS void INDEXED BY record_void
                WHERE void.kind = 'drop' AND json_extract(void.body, '$.voided') = 1
                AND void.stage = new.stage AND void.track = new.track AND void.step = new.step), 0))
          BEGIN SELECT RAISE(ABORT, 'the groups of the step are closed already'); END;
        """

    static let views = """
        CREATE VIEW questions AS SELECT
          json_extract(body, '$.id') AS question, json_extract(body, '$.specialty') AS specialty,
          json_extract(body, '$.split') AS split, json_extract(body, '$.patient') AS patient,
          json_extract(body, '$.image') AS image, json_extract(body, '$.source') AS source,
          json_extract(body, '$.license') AS license
          FROM record WHERE kind = 'question';
        CREATE VIEW trajectories AS SELECT
          seq, json_extract(body, '$.specialty') AS specialty, stage, track, step,
          question AS question_index, guideline AS guideline_index, sample,
          json_extract(body, '$.question') AS question, json_extract(body, '$.prompt') AS prompt,
          json_extract(body, '$.worker') AS worker, json_extract(body, '$.version') AS sampled_by_version,
          json_extract(body, '$.digest') AS sampled_by_digest, json_extract(body, '$.reward') AS reward,
          json_extract(body, '$.strict') AS correct, json_extract(body, '$.tokens') AS tokens
          FROM record WHERE kind = 'path' AND NOT EXISTS (
            SELECT 1 FROM record AS void INDEXED BY record_void
              WHERE void.kind = 'drop' AND json_extract(void.body, '$.voided') = 1
              AND void.stage = record.stage AND void.track = record.track AND void.step = record.step
              AND void.question = record.question AND void.guideline = record.guideline
              AND void.sample = record.sample AND void.seq > record.seq);
        CREATE VIEW drops AS SELECT
          seq, stage, track, step, question AS question_index, guideline AS guideline_index, sample,
          json_extract(body, '$.question') AS question, json_extract(body, '$.worker') AS worker,
          json_extract(body, '$.reason') AS reason, json_extract(body, '$.givenUp') AS given_up,
          coalesce(json_extract(body, '$.voided'), 0) AS voided
          FROM record WHERE kind = 'drop';
        CREATE VIEW quarantines AS SELECT
          seq, json_extract(body, '$.worker') AS worker, json_extract(body, '$.party') AS party,
          json_extract(body, '$.key') AS key, json_extract(body, '$.role') AS role,
          json_extract(body, '$.reason') AS reason
          FROM record WHERE kind = 'quarantine';
        CREATE VIEW uses AS SELECT
          record.stage, record.track, record.step, json_extract(member.value, '$.question') AS question_index,
          json_extract(member.value, '$.guideline') AS guideline_index,
          json_extract(member.value, '$.sample') AS sample, json_extract(member.value, '$.update') AS update_index,
          json_extract(member.value, '$.advantage') AS advantage, json_extract(member.value, '$.use') AS use
          FROM record, json_each(record.body, '$.members') AS member WHERE record.kind = 'groups' AND NOT EXISTS (
            SELECT 1 FROM record AS void INDEXED BY record_void
              WHERE void.kind = 'drop' AND json_extract(void.body, '$.voided') = 1
              AND void.stage = record.stage AND void.track = record.track AND void.step = record.step
              AND void.seq > record.seq);
        CREATE VIEW versions AS SELECT
          seq, json_extract(body, '$.adapter') AS adapter, json_extract(body, '$.version') AS version,
          json_extract(body, '$.digest') AS digest, json_extract(body, '$.base') AS base,
          stage, track, step, json_extract(body, '$.update') AS update_index,
          json_extract(body, '$.learningRate') AS learning_rate, json_extract(body, '$.gradientNorm') AS gradient_norm,
          json_extract(body, '$.gradient') AS gradient
          FROM record WHERE kind = 'update'
          UNION ALL SELECT
          seq, json_extract(body, '$.adapter'), json_extract(body, '$.version'), json_extract(body, '$.digest'), NULL,
          stage, NULL, NULL, NULL, NULL, NULL, NULL
          FROM record WHERE kind = 'merge';
        CREATE VIEW parents AS SELECT
          json_extract(body, '$.digest') AS digest, json_extract(body, '$.base') AS parent
          FROM record WHERE kind = 'update'
          UNION ALL SELECT
          json_extract(record.body, '$.digest'), input.value
          FROM record, json_each(record.body, '$.inputs') AS input WHERE kind = 'merge';
        CREATE VIEW ancestry AS
          WITH RECURSIVE line(digest, ancestor) AS (
            SELECT digest, digest FROM versions
            UNION
            SELECT line.digest, parents.parent FROM line JOIN parents ON parents.digest = line.ancestor
          ) SELECT digest, ancestor FROM line;
        CREATE VIEW lineage AS SELECT
          versions.adapter, versions.version, versions.digest, 'trajectory' AS kind, trajectories.seq,
          trajectories.question, trajectories.prompt, uses.advantage, questions.patient, questions.image,
          questions.source
          FROM versions
          JOIN uses ON uses.stage = versions.stage AND uses.track = versions.track AND uses.step = versions.step
            AND uses.update_index = versions.update_index AND uses.use = 'trained'
          JOIN trajectories ON trajectories.stage = uses.stage AND trajectories.track = uses.track
            AND trajectories.step = uses.step AND trajectories.question_index = uses.question_index
            AND trajectories.guideline_index = uses.guideline_index AND trajectories.sample = uses.sample
          LEFT JOIN questions ON questions.question = trajectories.question
          UNION ALL SELECT
          json_extract(record.body, '$.adapter'), json_extract(record.body, '$.version'),
          json_extract(record.body, '$.digest'), 'example', record.seq, example.value, NULL, NULL, questions.patient,
          questions.image, questions.source
          FROM record, json_each(record.body, '$.examples') AS example
          LEFT JOIN questions ON questions.question = example.value
          WHERE record.kind = 'update';
        """
}
