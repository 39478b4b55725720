/* LD_PRELOAD: a disk that stalls. While the file $HELD_SYNC is there, every sync
   waits; $HELD_SYNC.waiting appears as soon as one does. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void wait_turn(void)
{
    const char *gate = getenv("HELD_SYNC");
    char mark[4096];
    if (!gate || access(gate, F_OK))
        return;
    snprintf(mark, sizeof mark, "%s.waiting", gate);
    close(open(mark, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    while (!access(gate, F_OK))
        usleep(1000);
}

#define HELD(name)                                  \
    int name(int fd)                                \
    {                                               \
        int (*real)(int) = dlsym(RTLD_NEXT, #name); \
        wait_turn();                                \
        return real(fd);                            \
    }
HELD(fsync)
HELD(fdatasync)
HELD(syncfs)
