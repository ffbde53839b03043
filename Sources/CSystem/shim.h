// Functions of Debian 12's C library that its Swift module leaves out, since their headers ask for _GNU_SOURCE.
#pragma once
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *actions, int lowest);
int posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t *actions, const char *path);
int pipe2(int ends[2], int flags);

// Marks a crash of this process in a word of memory, then lets it take its course. A handler may do little more than that, and
// C says what it does.
static volatile unsigned *mmed_crash_flag;
static struct sigaction mmed_former_actions[65];

static void mmed_mark_crash(int number, siginfo_t *info, void *context) {
    (void)context;
    // Sent by another process it is no crash of ours.
    int sent = info->si_code <= 0;
    if (mmed_crash_flag && !(sent && info->si_pid != getpid())) *mmed_crash_flag = 1;
    // The former action, and the fault happens again; a signal that was sent does not, so it is sent again.
    sigaction(number, &mmed_former_actions[number], 0);
    if (sent) raise(number);
}

static inline int mmed_mark_crashes(unsigned *flag) {
    static const int numbers[] = {SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGABRT};
    mmed_crash_flag = flag;
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction action = {0};
        action.sa_sigaction = mmed_mark_crash;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigemptyset(&action.sa_mask);
        if (sigaction(numbers[i], &action, &mmed_former_actions[numbers[i]]) != 0) return -1;
    }
    return 0;
}
