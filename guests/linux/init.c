/*
 * init of the Linux guest: fills memory with the pattern of ../pattern.h, keeps dirtying a share of it, and tells on
 * ttyS0, in the words of the tiny guest (../tiny/guest.c): the same lines, the same commands on ttyS0 and ttyS1.
 *
 * Parameters come as words of the kernel command line, which the kernel hands to init as its environment
 * (Documentation/admin-guide/kernel-parameters.rst): guest_pages, guest_dirty_pages, guest_dirty_per_tick,
 * guest_verify_per_tick, guest_hz.
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "../pattern.h"

#define VERIFY_CHUNK 1024u
#define MOST_TICKS_AT_ONCE 4u /* after a long stop the work of at most so many ticks is made up for */
#define SECOND 1000000000ll   /* ns */

static struct pattern memory;
static uint32_t dirty_per_tick, verify_per_tick, hz, count;
static int lines[2] = {-1, -1};
static int asker = -1; /* who waits for a verification */
static uint32_t asked_index, asked_bad;

static void say(int fd, const char *text, size_t length)
{
    while (length) {
        ssize_t n = write(fd, text, length);
        if (n < 0)
            return; /* ttyS1 without a reader: its answer is lost, the guest goes on */
        text += n;
        length -= (size_t)n;
    }
}

#define SAY(fd, ...) do { char t[256]; int n = snprintf(t, sizeof t, __VA_ARGS__); say(fd, t, (size_t)n); } while (0)

static void tell_bad(uint32_t page, uint32_t word, uint32_t expected, uint32_t found)
{
    for (int i = 0; i < 2; i++)
        SAY(lines[i], "\nverify BAD page=%u word=%u expected=%u found=%u\n", page, word, expected, found);
}

static void status(int fd, const char *what)
{
    SAY(fd, "%s pages=%u dirty_pages=%u dirty_per_tick=%u verify_per_tick=%u hz=%u\n", what, memory.pages,
        memory.dirty_pages, dirty_per_tick, verify_per_tick, hz);
}

static uint32_t parameter(const char *name, uint32_t otherwise)
{
    const char *text = getenv(name);
    return text ? (uint32_t)strtoul(text, NULL, 10) : otherwise;
}

static int open_line(const char *path, int flags)
{
    struct termios t;
    int fd = open(path, O_RDWR | O_NOCTTY | flags);
    if (fd >= 0 && tcgetattr(fd, &t) == 0) {
        cfmakeraw(&t);
        cfsetspeed(&t, B115200);
        t.c_cflag |= CLOCAL;
        t.c_cc[VMIN] = 0;
        t.c_cc[VTIME] = 0; /* reading never waits */
        tcsetattr(fd, TCSANOW, &t);
    }
    return fd;
}

static void listen_to(int fd)
{
    char c;
    while (fd >= 0 && read(fd, &c, 1) == 1)
        switch (c) {
        case 'v':
            asker = fd;
            asked_index = 0;
            asked_bad = memory.bad;
            break;
        case 's': status(fd, "status"); break;
        case 'p': reboot(RB_POWER_OFF); break;
        case 'r': reboot(RB_AUTOBOOT); break;
        case '\r': case '\n': break;
        default: SAY(fd, "commands: v verify, s status, p power off, r reset\n");
        }
}

static void answer(void)
{
    if (asker < 0)
        return;
    for (uint32_t i = 0; i < VERIFY_CHUNK && asked_index < memory.pages; i++)
        pattern_verify(&memory, asked_index++);
    if (asked_index < memory.pages)
        return;
    SAY(asker, "verify %s pages=%u bad=%u gen=%u\n", memory.bad == asked_bad ? "ok" : "failed", asked_index,
        memory.bad - asked_bad, memory.round);
    asker = -1;
}

static long long now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

/* Sleep to the next tick; returns how many ticks' work is due (1 unless the guest is late). */
static uint32_t next_tick(long long *tick_ns)
{
    long long late = now_ns() - *tick_ns, period = SECOND / hz;
    uint32_t due = 1;
    if (late > period) {
        due = late / period > MOST_TICKS_AT_ONCE ? MOST_TICKS_AT_ONCE : (uint32_t)(late / period);
        *tick_ns = now_ns();
    }
    *tick_ns += period;
    struct timespec t = {*tick_ns / SECOND, *tick_ns % SECOND};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
    return due;
}

int main(void)
{
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    lines[0] = open_line("/dev/ttyS0", 0);
    lines[1] = open_line("/dev/ttyS1", O_NONBLOCK);
    memory.pages = parameter("guest_pages", 8192);
    memory.dirty_pages = parameter("guest_dirty_pages", 4096);
    dirty_per_tick = parameter("guest_dirty_per_tick", 26);
    verify_per_tick = parameter("guest_verify_per_tick", 64);
    hz = parameter("guest_hz", 100);
    status(lines[0], "culvert-guest boot");
    void *base = mmap(NULL, (size_t)memory.pages * PATTERN_WORDS * 4, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (base == MAP_FAILED) {
        SAY(lines[0], "verify failed: no memory for %u pages\n", memory.pages);
        for (;;)
            pause();
    }
    memory.base = base;
    pattern_fill(&memory);
    for (long long tick_ns = now_ns();;) {
        uint32_t due = next_tick(&tick_ns);
        pattern_dirty(&memory, due * dirty_per_tick);
        pattern_pass(&memory, due * verify_per_tick, 0);
        answer();
        SAY(lines[0], "culvert-guest count=%u verified=%u bad=%u gen=%u pass=%u index=%u\n", ++count,
            memory.verified, memory.bad, memory.round, memory.passes, memory.index);
        for (int i = 0; i < 2; i++)
            listen_to(lines[i]);
    }
}
