// What the coordinator asks of the system in C's own words.
#pragma once
// mallopt, whose header its module leaves out.
#include <malloc.h>
#include <spawn.h>

// Functions of Debian 12's C library that its Swift module leaves out, since their headers ask for _GNU_SOURCE.
int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions, int lowest);
int posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t *actions, const char *path);
int pipe2(int ends[2], int flags);

// From now on a crash of this process stores 1 into the word, which must stay mapped, and then takes its course. A crash is a
// SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGFPE or SIGABRT that no other process has sent. Once for each process; 0, or -1 with errno.
int mmed_mark_crashes(unsigned *flag);
