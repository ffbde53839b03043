#ifndef MMED_CZEROMQ_SHIM_H
#define MMED_CZEROMQ_SHIM_H

#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

/* Whether a process answers at a Unix socket: ZeroMQ would take the path over without asking.
   Here because the path field of sockaddr_un is a tuple of 108 elements in Swift. */
static inline int mmed_unix_socket_answers(const char *path) {
    struct sockaddr_un address;
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address.sun_path) return 0;
    strcpy(address.sun_path, path);
    int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return 0;
    int answers = connect(descriptor, (const struct sockaddr *)&address, sizeof address) == 0;
    close(descriptor);
    return answers;
}

/* Names the calling thread for ps and gdb; at most 15 bytes count. Here because prctl is variadic. */
static inline void mmed_name_thread(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }

#endif
