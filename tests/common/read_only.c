/* LD_PRELOAD: a filesystem that became read-only after an error. While the file
   $READ_ONLY is there, nothing below the folder $READ_ONLY_BELOW is made, changed or
   removed; files that were open for writing take no more either. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int refused(const char *path)
{
    const char *gate = getenv("READ_ONLY"), *below = getenv("READ_ONLY_BELOW");
    if (!gate || !below || access(gate, F_OK) || strncmp(path, below, strlen(below)))
        return 0;
    errno = EROFS;
    return 1;
}

static int refused_file(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return refused(path);
}

#define OPEN(name)                                                       \
    int name(const char *path, int flags, ...)                           \
    {                                                                    \
        int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, #name);   \
        va_list more;                                                    \
        va_start(more, flags);                                           \
        mode_t mode = va_arg(more, mode_t);                              \
        va_end(more);                                                    \
        if ((flags & (O_WRONLY | O_RDWR | O_CREAT)) && refused(path))    \
            return -1;                                                   \
        return real(path, flags, mode);                                  \
    }
OPEN(open)
OPEN(open64)

#define ON_FILE(type, name, given, passed)                               \
    type name given                                                      \
    {                                                                    \
        type(*real) given = dlsym(RTLD_NEXT, #name);                     \
        return refused_file(fd) ? -1 : real passed;                      \
    }
ON_FILE(ssize_t, write, (int fd, const void *bytes, size_t count), (fd, bytes, count))
ON_FILE(int, fchmod, (int fd, mode_t mode), (fd, mode))

#define ON_PATH(name, given, passed)                                     \
    int name given                                                       \
    {                                                                    \
        int(*real) given = dlsym(RTLD_NEXT, #name);                      \
        return refused(path) ? -1 : real passed;                         \
    }
ON_PATH(mkdir, (const char *path, mode_t mode), (path, mode))
ON_PATH(unlink, (const char *path), (path))
ON_PATH(rename, (const char *path, const char *to), (path, to))
