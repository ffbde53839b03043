// The raw limits beside which `make bench` prints the coordinator's rows: libzmq's message rate over TCP loopback, SQLite's
// commits and fdatasync on the disk of a folder. Usage: limits FOLDER, or limits --messages for libzmq's rate alone.
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum { MESSAGE = 10000, MESSAGES = 50000, WRITES = 1000, ROW = 1024 };

static char endpoint[64];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static int ascending(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static void need(int ok, const char *what) {
    if (ok) return;
    fprintf(stderr, "limits: %s failed\n", what);
    exit(69);
}

static void *push(void *unused) {
    (void)unused;
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_PUSH);
    static char bytes[MESSAGE];
    need(zmq_connect(socket, endpoint) == 0, "zmq_connect");
    for (int i = 0; i <= MESSAGES; i++) need(zmq_send(socket, bytes, MESSAGE, 0) == MESSAGE, "zmq_send");
    zmq_close(socket);
    zmq_ctx_term(context);
    return NULL;
}

static double messages(void) {
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_PULL);
    static char bytes[MESSAGE];
    size_t size = sizeof endpoint;
    pthread_t thread;
    need(zmq_bind(socket, "tcp://127.0.0.1:*") == 0, "zmq_bind");
    zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size);
    need(pthread_create(&thread, NULL, push, NULL) == 0, "pthread_create");
    need(zmq_recv(socket, bytes, MESSAGE, 0) == MESSAGE, "zmq_recv");
    double start = now();
    for (int i = 0; i < MESSAGES; i++) need(zmq_recv(socket, bytes, MESSAGE, 0) == MESSAGE, "zmq_recv");
    double rate = MESSAGES / (now() - start);
    pthread_join(thread, NULL);
    zmq_close(socket);
    zmq_ctx_term(context);
    return rate;
}

static void print(const char *name, double *seconds) {
    qsort(seconds, WRITES, sizeof *seconds, ascending);
    printf("raw: %-53s p50 %.2f ms, p99 %.2f ms\n", name, seconds[WRITES / 2] * 1e3, seconds[WRITES * 99 / 100] * 1e3);
}

static void syncs(const char *path) {
    static double seconds[WRITES];
    static char bytes[ROW];
    int file = open(path, O_CREAT | O_RDWR | O_APPEND, 0600);
    need(file >= 0, path);
    for (int i = 0; i < WRITES; i++) {
        double start = now();
        need(write(file, bytes, ROW) == ROW && fdatasync(file) == 0, "fdatasync");
        seconds[i] = now() - start;
    }
    close(file);
    unlink(path);
    print("append of 1 KiB and fdatasync", seconds);
}

static void commits(const char *path) {
    static double seconds[WRITES];
    static char bytes[ROW];
    char other[4096];
    sqlite3 *db;
    sqlite3_stmt *insert;
    need(sqlite3_open(path, &db) == SQLITE_OK, path);
    need(sqlite3_exec(db, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
        "CREATE TABLE row(body BLOB)", NULL, NULL, NULL) == SQLITE_OK, "sqlite3_exec");
    need(sqlite3_prepare_v2(db, "INSERT INTO row VALUES (?)", -1, &insert, NULL) == SQLITE_OK, "sqlite3_prepare");
    for (int i = 0; i < WRITES; i++) {
        double start = now();
        sqlite3_bind_blob(insert, 1, bytes, ROW, SQLITE_STATIC);
        need(sqlite3_step(insert) == SQLITE_DONE, "sqlite3_step");
        sqlite3_reset(insert);
        seconds[i] = now() - start;
    }
    sqlite3_finalize(insert);
    sqlite3_close(db);
    const char *ends[] = {"", "-wal", "-shm"};
    for (int i = 0; i < 3; i++) {
        snprintf(other, sizeof other, "%s%s", path, ends[i]);
        unlink(other);
    }
    print("SQLite commit of one row of 1 KiB, WAL, FULL", seconds);
}

int main(int count, char **words) {
    char path[4096];
    need(count == 2, "usage: limits FOLDER, or limits --messages;");
    if (strcmp(words[1], "--messages") == 0) {
        printf("%.0f\n", messages());
        return 0;
    }
    snprintf(path, sizeof path, "%s/limits-%d", words[1], (int)getpid());
    syncs(path);
    commits(path);
    return 0;
}
