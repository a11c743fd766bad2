/* Notes, in order, what a process writes to files below WATCHED and when it asks the disk to keep it: LD_PRELOAD for
   test_power_loss.py. Touches the file NOTED only. A note is a head and then the path and what was written. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct head {
    char what;
    char pad[7];
    uint64_t path, at, size;
};

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static void all(int fd, const void *data, size_t size) {
    for (size_t done = 0; done < size;) {
        long n = syscall(SYS_write, fd, (const char *)data + done, size - done);
        if (n <= 0) abort();
        done += n;
    }
}

static void note(char what, const char *path, uint64_t at, const void *data, size_t size) {
    static int fd = -1;
    const char *watched = getenv("WATCHED"), *noted = getenv("NOTED");
    if (!watched || !noted || strncmp(path, watched, strlen(watched))) return;
    pthread_mutex_lock(&turn);
    if (fd < 0) fd = syscall(SYS_openat, AT_FDCWD, noted, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    struct head head = {what, {0}, strlen(path), at, data ? size : 0};
    if (!data) head.at = at;
    all(fd, &head, sizeof head);
    all(fd, path, head.path);
    if (data) all(fd, data, size);
    pthread_mutex_unlock(&turn);
}

static void noted(char what, int fd, uint64_t at, const void *data, size_t size) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return;
    path[n] = 0;
    note(what, path, at, data, size);
}

ssize_t write(int fd, const void *data, size_t size) {
    off_t at = lseek(fd, 0, SEEK_CUR);
    ssize_t n = syscall(SYS_write, fd, data, size);
    if (n > 0 && at >= 0) noted('w', fd, at, data, n);
    return n;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    ssize_t n = syscall(SYS_pwrite64, fd, data, size, at);
    if (n > 0) noted('w', fd, at, data, n);
    return n;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }

int ftruncate64(int fd, off64_t size) {
    int r = syscall(SYS_ftruncate, fd, size);
    if (!r) noted('t', fd, size, NULL, 0);
    return r;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int fsync(int fd) {
    noted('s', fd, 0, NULL, 0);
    return syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
    noted('s', fd, 0, NULL, 0);
    return syscall(SYS_fdatasync, fd);
}

int unlink(const char *path) {
    note('u', path, 0, NULL, 0);
    return syscall(SYS_unlink, path);
}
