/* A disk that fails on command: loaded before the C library, it stands between a process and the files under one path.
 *
 * KOBAN_TEST_DISK_UNDER is that path's beginning, KOBAN_TEST_DISK_MODE names a file whose word says what is wrong now:
 * "full" (nothing may grow: ENOSPC), "readonly" (EROFS), "unsynced" (a sync fails: EIO), "slow" (a sync takes 30 ms more).
 * No file or another word: all is well. System calls are made directly, so that nothing here meets itself. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum mode { WELL, FULL, READONLY, UNSYNCED, SLOW };

static enum mode mode_of(int fd)
{
    const char *under = getenv("KOBAN_TEST_DISK_UNDER");
    const char *control = getenv("KOBAN_TEST_DISK_MODE");
    char link[64], path[PATH_MAX], word[16];
    int kept = errno;
    enum mode mode = WELL;
    if (!under || !control)
        return WELL;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length > 0) {
        path[length] = 0;
        if (strncmp(path, under, strlen(under)) == 0) {
            long file = syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC);
            if (file >= 0) {
                long read = syscall(SYS_read, file, word, sizeof word - 1);
                syscall(SYS_close, file);
                word[read > 0 ? read : 0] = 0;
                if (strcmp(word, "full") == 0)
                    mode = FULL;
                else if (strcmp(word, "readonly") == 0)
                    mode = READONLY;
                else if (strcmp(word, "unsynced") == 0)
                    mode = UNSYNCED;
                else if (strcmp(word, "slow") == 0)
                    mode = SLOW;
            }
        }
    }
    errno = kept;
    return mode;
}

/* Whether writing up to this end is refused; errno says why. */
static int refused(int fd, off_t end)
{
    struct stat now;
    switch (mode_of(fd)) {
    case FULL:
        if (fstat(fd, &now) == 0 && S_ISREG(now.st_mode) && end > now.st_size) {
            errno = ENOSPC;
            return 1;
        }
        return 0;
    case READONLY:
        errno = EROFS;
        return 1;
    default:
        return 0;
    }
}

static off_t here(int fd)
{
    int kept = errno;
    struct stat now;
    off_t at = 0;
    if (fcntl(fd, F_GETFL) & O_APPEND)
        at = fstat(fd, &now) == 0 ? now.st_size : 0;
    else
        at = lseek(fd, 0, SEEK_CUR);
    errno = kept;
    return at < 0 ? 0 : at;
}

static size_t sum(const struct iovec *parts, int count)
{
    size_t all = 0;
    for (int place = 0; place < count; place++)
        all += parts[place].iov_len;
    return all;
}

ssize_t write(int fd, const void *bytes, size_t count)
{
    if (refused(fd, here(fd) + (off_t)count))
        return -1;
    return syscall(SYS_write, fd, bytes, count);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at)
{
    if (refused(fd, at + (off_t)count))
        return -1;
    return syscall(SYS_pwrite64, fd, bytes, count, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { return pwrite64(fd, bytes, count, at); }

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at)
{
    if (refused(fd, at + (off_t)sum(parts, count)))
        return -1;
    return syscall(SYS_pwritev, fd, parts, count, at, 0);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) { return pwritev64(fd, parts, count, at); }

int ftruncate64(int fd, off64_t size)
{
    if (refused(fd, size))
        return -1;
    return (int)syscall(SYS_ftruncate, fd, size);
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int posix_fallocate64(int fd, off64_t at, off64_t count)
{
    if (refused(fd, at + count))
        return errno;
    return syscall(SYS_fallocate, fd, 0, at, count) == 0 ? 0 : errno;
}

int posix_fallocate(int fd, off_t at, off_t count) { return posix_fallocate64(fd, at, count); }

static int unsynced(int fd)
{
    struct timespec pause = { 0, 30 * 1000 * 1000 };
    switch (mode_of(fd)) {
    case UNSYNCED:
        errno = EIO;
        return 1;
    case SLOW:
        nanosleep(&pause, NULL);
        return 0;
    default:
        return 0;
    }
}

int fsync(int fd) { return unsynced(fd) ? -1 : (int)syscall(SYS_fsync, fd); }

int fdatasync(int fd) { return unsynced(fd) ? -1 : (int)syscall(SYS_fdatasync, fd); }
