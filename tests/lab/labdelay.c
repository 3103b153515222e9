/* A cable with a delay, for kernels without `tc netem`: joins a TAP in the root network namespace
 * to a TAP in the lab's switch, and holds every frame for a while.
 *
 *     labdelay IFNAME SWITCH_NETNS PARAMETERS
 *
 * PARAMETERS is a file of four doubles, read for every frame, so that writing it takes effect at
 * once: delay and jitter in seconds (one way), loss as a fraction, rate in bit/s (0: no limit).
 * Prints "ready" when both TAPs exist; they vanish with the process. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { FRAME = 2048, HELD = 4096 };

struct parameters { double delay, jitter, loss, rate; };
struct frame { double due; ssize_t size; char bytes[FRAME]; };
struct line { /* one direction */
    int from, to;
    double last, idle; /* when the newest frame is due; when the rate limiter is free */
    unsigned head, tail;
    struct frame held[HELD];
};

static struct line out, in;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static int die(const char *what) {
    perror(what);
    exit(1);
}

static int tap(const char *name) {
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    if (fd < 0) die("/dev/net/tun");
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (ioctl(fd, TUNSETIFF, &request)) die(name);
    return fd;
}

/* Takes what has arrived; a full queue drops, as a router's would. */
static void take(struct line *line, volatile struct parameters *p) {
    for (;;) {
        struct frame *frame = &line->held[line->head % HELD], spilt;
        int full = line->head - line->tail == HELD;
        if (full) frame = &spilt;
        frame->size = read(line->from, frame->bytes, FRAME);
        if (frame->size <= 0) return;
        if (full || drand48() < p->loss) continue;
        double due = now();
        if (p->rate > 0) {
            if (line->idle > due) due = line->idle;
            due = line->idle = due + frame->size * 8 / p->rate;
        }
        due += p->delay + p->jitter * (2 * drand48() - 1);
        if (due < line->last) due = line->last; /* frames keep their order */
        frame->due = line->last = due;
        line->head++;
    }
}

/* Sends what is due; returns when the next one will be. */
static double give(struct line *line) {
    while (line->head != line->tail) {
        struct frame *frame = &line->held[line->tail % HELD];
        if (frame->due > now()) return frame->due;
        if (write(line->to, frame->bytes, frame->size) < 0) { /* that end is down: the frame is lost */ }
        line->tail++;
    }
    return 1e18;
}

int main(int argc, char **argv) {
    if (argc != 4) return 64;
    int file = open(argv[3], O_RDONLY), netns = open(argv[2], O_RDONLY);
    if (file < 0 || netns < 0) die("open");
    volatile struct parameters *p = mmap(0, sizeof *p, PROT_READ, MAP_SHARED, file, 0);
    if (p == MAP_FAILED) die("mmap");
    out.from = in.to = tap(argv[1]);
    if (setns(netns, CLONE_NEWNET)) die("setns");
    out.to = in.from = tap("up0");
    srand48(1);
    puts("ready");
    fclose(stdout);
    for (;;) {
        double a = give(&out), b = give(&in), wait = (a < b ? a : b) - now();
        if (wait < 0) wait = 0;
        struct timespec t = {wait > 3600 ? 3600 : (time_t)wait, 0};
        t.tv_nsec = wait > 3600 ? 0 : (wait - t.tv_sec) * 1e9;
        struct pollfd ends[2] = {{out.from, POLLIN, 0}, {in.from, POLLIN, 0}};
        ppoll(ends, 2, &t, 0);
        take(&out, p);
        take(&in, p);
    }
}
