// A handler may do little more than this, and C says what it does.
#include "CSystem.h"
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static volatile unsigned *crash_flag;
static struct sigaction former_actions[65];

static void mark_crash(int number, siginfo_t *info, void *context) {
    (void)context;
    // Sent by another process it is no crash of this one.
    int sent = info->si_code <= 0;
    if (!(sent && info->si_pid != getpid())) *crash_flag = 1;
    // The former action, and the fault happens again. A signal that was sent does not happen again: it is sent again, and to no
    // handler, since one that prints where the process was and returns would let it go on.
    struct sigaction end = {0};
    end.sa_handler = SIG_DFL;
    sigemptyset(&end.sa_mask);
    sigaction(number, sent ? &end : &former_actions[number], NULL);
    if (sent) raise(number);
}

int mmed_mark_crashes(unsigned *flag) {
    static const int numbers[] = {SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGABRT};
    crash_flag = flag;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct sigaction action = {0};
        action.sa_sigaction = mark_crash;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigemptyset(&action.sa_mask);
        if (sigaction(numbers[i], &action, &former_actions[numbers[i]]) != 0) return -1;
    }
    return 0;
}
