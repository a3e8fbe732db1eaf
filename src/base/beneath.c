/* beneath.c - opens files that lie beneath a folder, and no others.
 *
 * SPDX-License-Identifier: MIT
 */
#include "base/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A FIFO without a writer, or a terminal, must not hold us up. */
#define READING (O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
#define FD_PATH_BYTES 32

static int
error_of(int error)
{
    switch (error) {
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return -error;
    default:
        return -ENOENT; /* nobody outside shall learn which of the others */
    }
}

static int
open_again(int dir_fd, const char *name, int flags)
{
    int fd;

    do {
        fd = openat(dir_fd, name, flags);
    } while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

int
gl_beneath_root(const char *path)
{
    int fd = open_again(AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? error_of(-fd) : fd;
}

/* Closes fd unless it is a regular file or (with `folders`) a folder. */
static int
judge(int fd, bool folders, struct stat *ret_info)
{
    struct stat info;

    if (fstat(fd, &info) == 0 &&
        (S_ISREG(info.st_mode) || (folders && S_ISDIR(info.st_mode)))) {
        *ret_info = info;
        return fd;
    }
    close(fd);
    return -ENOENT;
}

/* As the kernel sees it: a negative errno, or the descriptor. */
static int
open_beneath(int root_fd, const char *name)
{
    const struct open_how how = {
        .flags = READING,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    long fd;

    do {
        fd = syscall(SYS_openat2, root_fd, name, &how, sizeof(how));
    } while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : (int)fd;
}

static void
write_fd_path(char dst[FD_PATH_BYTES], int fd)
{
    (void)snprintf(dst, FD_PATH_BYTES, "/proc/self/fd/%d", fd);
}

/* Where the open file lies, whatever it was called.  Its length, or -1. */
static ssize_t
real_path(int fd, char dst[PATH_MAX])
{
    char link[FD_PATH_BYTES];
    ssize_t n;

    write_fd_path(link, fd);
    n = readlink(link, dst, PATH_MAX);
    /* Not a file's: "pipe:[1]".  Cut: it could end anywhere. */
    return n > 0 && n < PATH_MAX && dst[0] == '/' ? n : -1;
}

static bool
lies_in(const char *path, size_t n, int root_fd)
{
    char root[PATH_MAX];
    ssize_t root_n = real_path(root_fd, root);

    if (root_n == 1) {
        return true; /* "/" has everything */
    }
    return root_n > 0 && n >= (size_t)root_n &&
           memcmp(path, root, (size_t)root_n) == 0 &&
           (n == (size_t)root_n || path[root_n] == '/');
}

static bool
lies_in_safe(const char *path, size_t n, const struct gl_beneath_safe *safe)
{
    for (size_t i = 0; i < safe->count; i++) {
        int fd = gl_beneath_root(safe->paths[i]);
        bool found = fd >= 0 && lies_in(path, n, fd);

        if (fd >= 0) {
            close(fd);
        }
        if (found) {
            return true;
        }
    }
    return false;
}

static bool
is_allowed(int fd, int root_fd, const struct gl_beneath_safe *safe)
{
    char path[PATH_MAX];
    ssize_t n = real_path(fd, path);

    return n > 0 && (lies_in(path, (size_t)n, root_fd) ||
                     lies_in_safe(path, (size_t)n, safe));
}

/* Follows every link, looks at what it got, and opens that: O_PATH alone
 * does nothing to a FIFO or a device. */
static int
open_judged(int root_fd, const char *name, const struct gl_beneath_safe *safe)
{
    int fd = open_again(root_fd, name, O_PATH | O_CLOEXEC), again;
    char link[FD_PATH_BYTES];
    struct stat info;

    if (fd < 0) {
        return fd;
    }
    if (!is_allowed(fd, root_fd, safe)) {
        close(fd);
        return -ENOENT;
    }
    fd = judge(fd, true, &info);
    if (fd < 0) {
        return fd;
    }
    write_fd_path(link, fd);
    again = open_again(AT_FDCWD, link, READING);
    close(fd);
    return again;
}

int
gl_beneath_open(int root_fd, const char *name,
                const struct gl_beneath_safe *safe, struct stat *ret_info)
{
    int fd = open_beneath(root_fd, name);

    /* EXDEV: a link leads out, or is absolute.  EAGAIN: something was renamed
     * meanwhile.  ENOSYS, EPERM: no such call here, or it is forbidden. */
    if (fd == -EXDEV || fd == -EAGAIN || fd == -ENOSYS || fd == -EPERM) {
        fd = open_judged(root_fd, name, safe);
    }
    return fd < 0 ? error_of(-fd) : judge(fd, true, ret_info);
}

int
gl_beneath_open_file(const char *path, struct stat *ret_info)
{
    int fd = open_again(AT_FDCWD, path, READING);

    return fd < 0 ? error_of(-fd) : judge(fd, false, ret_info);
}
