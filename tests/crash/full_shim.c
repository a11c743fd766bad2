/* A disk that is full from the Nth write on, for the files below WATCHED: LD_PRELOAD for test_full_disk.py. Touches the file CONTROL,
   which the test shares: how many writes there is room for yet (below 0: for all), and how many have failed. The last one with room is
   written by half, as disks do. Syncing fails as well: where blocks are allotted late, that is where it is noticed. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct control {
    _Atomic int64_t room, failed;
};

static struct control *control(void) {
    static struct control *_Atomic shared;
    struct control *found = atomic_load(&shared);
    if (found) return found;
    const char *path = getenv("CONTROL");
    if (!path) return NULL;
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return NULL;
    found = mmap(NULL, sizeof *found, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (found == MAP_FAILED) return NULL;
    atomic_store(&shared, found);
    return found;
}

/* 0: there is room. 1: for half of it. -1: there is none. */
static int full(int fd) {
    struct control *shared = control();
    if (!shared || atomic_load(&shared->room) < 0) return 0;
    char link[64], path[PATH_MAX];
    const char *watched = getenv("WATCHED");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (!watched || n <= 0) return 0;
    path[n] = 0;
    if (strncmp(path, watched, strlen(watched))) return 0;
    for (int64_t room = atomic_load(&shared->room); room > 0;)
        if (atomic_compare_exchange_weak(&shared->room, &room, room - 1)) return room == 1;
        else if (room < 0) return 0;
    if (atomic_load(&shared->room) < 0) return 0;
    atomic_fetch_add(&shared->failed, 1);
    errno = ENOSPC;
    return -1;
}

ssize_t write(int fd, const void *data, size_t size) {
    int state = full(fd);
    return state < 0 ? -1 : syscall(SYS_write, fd, data, state && size > 1 ? size / 2 : size);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    int state = full(fd);
    return state < 0 ? -1 : syscall(SYS_pwrite64, fd, data, state && size > 1 ? size / 2 : size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }

int fsync(int fd) { return full(fd) < 0 ? -1 : syscall(SYS_fsync, fd); }

int fdatasync(int fd) { return full(fd) < 0 ? -1 : syscall(SYS_fdatasync, fd); }
