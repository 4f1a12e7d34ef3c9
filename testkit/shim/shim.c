/*
 * System calls that go wrong as POSIX lets them: for the tests of backends, never for programs.
 *
 * Preloaded (LD_PRELOAD), this library stands before the positional transfers, syncs and changes
 * of length of the C library. Of the calls on regular files in one directory, or below it, some go
 * wrong; all others go to the kernel as they are. What a backend makes of it is left to the test.
 *
 *   GANNET_SHIM       what happens:
 *                       eintr  the call does nothing and is interrupted (any call: file systems
 *                              that wait for a server do that to each of them)
 *                       short  a transfer of two bytes or more does a part of it, at least one byte
 *                       zero   a transfer does nothing and says so
 *                       eio    the call does nothing and fails with EIO
 *   GANNET_SHIM_DIR   the directory, as the kernel names it: absolute, without symbolic links
 *   GANNET_SHIM_SEED  which calls: the same number picks the same ones (one thread given)
 *   GANNET_SHIM_ONE_IN  one in how many
 *   GANNET_SHIM_LOG   file that gets, at exit, a line "name acted seen" for each kind of call
 *
 * Without all of them nothing happens. A process that lives for longer than TIME_LIMIT_SECONDS is
 * killed by SIGALRM, so that a loop without an end is a failed test and not one that waits.
 *
 * Calls are handed on by number: that needs no look-up of the next library, but the offset in one
 * register, so the shim is for 64-bit Linux.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if !defined(__linux__) || __SIZEOF_LONG__ != 8
#error "the shim is for 64-bit Linux"
#endif

enum { TIME_LIMIT_SECONDS = 300 };

enum mode { OFF, EINTR_MODE, SHORT_MODE, ZERO_MODE, EIO_MODE };
enum call { PREAD, PWRITE, FSYNC, FDATASYNC, FTRUNCATE, CALLS };
static const char *const names[CALLS] = {"pread", "pwrite", "fsync", "fdatasync", "ftruncate"};

static enum mode mode = OFF;
static const char *dir, *log_path;
static size_t dir_len;
static uint64_t seed, one_in = 1;
static atomic_uint_fast64_t drawn, acted[CALLS], seen[CALLS];

__attribute__((constructor)) static void begin(void)
{
    static const char *const modes[] = {"", "eintr", "short", "zero", "eio"};
    const char *asked = getenv("GANNET_SHIM"), *from = getenv("GANNET_SHIM_SEED");
    const char *rate = getenv("GANNET_SHIM_ONE_IN");
    dir = getenv("GANNET_SHIM_DIR");
    log_path = getenv("GANNET_SHIM_LOG");
    if (!asked || !from || !rate || !dir || !log_path)
        return;
    dir_len = strlen(dir);
    seed = strtoull(from, NULL, 10);
    one_in = strtoull(rate, NULL, 10);
    for (int i = EINTR_MODE; i <= EIO_MODE; i++)
        if (!strcmp(asked, modes[i]))
            mode = (enum mode)i;
    if (one_in == 0)
        mode = OFF;
    alarm(TIME_LIMIT_SECONDS);
}

__attribute__((destructor)) static void end(void)
{
    FILE *log = mode == OFF ? NULL : fopen(log_path, "w");
    if (!log)
        return;
    for (int i = 0; i < CALLS; i++)
        fprintf(log, "%s %llu %llu\n", names[i], (unsigned long long)acted[i],
                (unsigned long long)seen[i]);
    fclose(log);
}

/* The next number of the seed: SplitMix64. */
static uint64_t draw(void)
{
    uint64_t z = seed + (atomic_fetch_add(&drawn, 1) + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Whether fd is a regular file below the directory. Leaves errno alone. */
static int is_ours(int fd)
{
    char link[64], path[4096];
    struct stat st;
    int before = errno, ours = 0;
    if (mode != OFF && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t len = readlink(link, path, sizeof path);
        ours = len > (ssize_t)dir_len && !memcmp(path, dir, dir_len) && path[dir_len] == '/';
    }
    errno = before;
    return ours;
}

/* Whether a call goes wrong; *len is what is left of a transfer (0: the call transfers nothing). If
 * so, either *len is shorter now, or *result and errno are what the call answers. */
static int goes_wrong(enum call call, int fd, size_t *len, long *result)
{
    if (!is_ours(fd))
        return 0;
    atomic_fetch_add(&seen[call], 1);
    uint64_t number = draw();
    int can = mode == EINTR_MODE || mode == EIO_MODE || *len > (mode == SHORT_MODE ? 1 : 0);
    if (!can || number % one_in != 0)
        return 0;
    atomic_fetch_add(&acted[call], 1);
    if (mode == SHORT_MODE) {
        *len = 1 + draw() % (*len - 1);
        return 0;
    }
    *result = mode == ZERO_MODE ? 0 : -1;
    if (mode != ZERO_MODE)
        errno = mode == EINTR_MODE ? EINTR : EIO;
    return 1;
}

static long other(enum call call, long number, int fd, long argument)
{
    size_t none = 0;
    long result;
    return goes_wrong(call, fd, &none, &result) ? result : syscall(number, fd, argument);
}

ssize_t pread64(int fd, void *buf, size_t len, off64_t at)
{
    long result;
    return goes_wrong(PREAD, fd, &len, &result) ? result : syscall(SYS_pread64, fd, buf, len, at);
}

ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t at)
{
    long result;
    return goes_wrong(PWRITE, fd, &len, &result) ? result : syscall(SYS_pwrite64, fd, buf, len, at);
}

ssize_t pread(int fd, void *buf, size_t len, off_t at) { return pread64(fd, buf, len, at); }
ssize_t pwrite(int fd, const void *buf, size_t len, off_t at) { return pwrite64(fd, buf, len, at); }
int fsync(int fd) { return (int)other(FSYNC, SYS_fsync, fd, 0); }
int fdatasync(int fd) { return (int)other(FDATASYNC, SYS_fdatasync, fd, 0); }
int ftruncate64(int fd, off64_t len) { return (int)other(FTRUNCATE, SYS_ftruncate, fd, len); }
int ftruncate(int fd, off_t len) { return ftruncate64(fd, len); }
