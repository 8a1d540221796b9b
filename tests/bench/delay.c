/*
 * delay MICROSECONDS ADDRESS ADDRESS: two network namespaces with a link that
 * takes MICROSECONDS each way, for kernels without netem. Needs root.
 *
 * Each namespace has one TUN device with one of the two addresses, of the same
 * /24. Prints the descriptors of the two namespaces, once all is there: others
 * join by nsenter --net=/proc/PID/fd/N. Packets are held back for their time,
 * in order, none is lost or changed, and so each handshake of TCP and of TLS
 * takes its round trips. All of it ends with this process, whichever way.
 */
#define _GNU_SOURCE /* unshare(), ppoll() */

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proto/banned.h"

#define NETMASK    "255.255.255.0"
#define PACKET_MAX 2048 /* the device's MTU is 1500 */
#define QUEUE_MAX  8192 /* packets under way in one direction */

struct packet {
	int64_t due_ns;
	ssize_t len;
	char data[PACKET_MAX];
};

/* One direction: read from one device, written to the other when due. */
struct way {
	int from, to;
	size_t first, count; /* a ring in queue */
	struct packet queue[QUEUE_MAX];
};

static struct way ways[2];

static int64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void
set_address(int sock, struct ifreq *r, unsigned long request, const char *text)
{
	struct sockaddr_in a = { .sin_family = AF_INET };

	if (inet_pton(AF_INET, text, &a.sin_addr) != 1)
		errx(2, "%s: not an address", text);
	memcpy(&r->ifr_addr, &a, sizeof(a));
	if (ioctl(sock, request, r) < 0)
		err(1, "address %s", text);
}

static void
set_up(int sock, const char *device, const char *address)
{
	struct ifreq r = { 0 };

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", device);
	if (address != NULL) {
		set_address(sock, &r, SIOCSIFADDR, address);
		set_address(sock, &r, SIOCSIFNETMASK, NETMASK);
	}
	if (ioctl(sock, SIOCGIFFLAGS, &r) < 0)
		err(1, "%s", device);
	r.ifr_flags |= IFF_UP;
	if (ioctl(sock, SIOCSIFFLAGS, &r) < 0)
		err(1, "%s", device);
}

static int
open_tun(const char *device)
{
	struct ifreq r = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", device);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &r) < 0)
		err(1, "/dev/net/tun");
	return fd;
}

/*
 * A new namespace, in which this process then is. Its device works on for us
 * when we have left it.
 */
static int
make_side(const char *address, int *ret_namespace)
{
	int tun, sock;

	if (unshare(CLONE_NEWNET) < 0)
		err(1, "unshare");
	*ret_namespace = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (*ret_namespace < 0 || sock < 0)
		err(1, "network namespace");
	tun = open_tun("far0");
	set_up(sock, "far0", address);
	set_up(sock, "lo", NULL);
	close(sock);
	return tun;
}

static void
take_in(struct way *w, int64_t delay_ns)
{
	struct packet *p;

	while (w->count < QUEUE_MAX) {
		p = &w->queue[(w->first + w->count) % QUEUE_MAX];
		p->len = read(w->from, p->data, sizeof(p->data));
		if (p->len < 0 && errno == EAGAIN)
			return;
		if (p->len < 0)
			err(1, "read");
		p->due_ns = now_ns() + delay_ns;
		w->count++;
	}
}

static void
pass_on(struct way *w)
{
	struct packet *p = &w->queue[w->first];

	while (w->count > 0 && p->due_ns <= now_ns()) {
		/* A device takes packets in or drops them, as any network. */
		if (write(w->to, p->data, (size_t)p->len) < 0 &&
		    errno != EAGAIN && errno != EIO)
			err(1, "write");
		w->first = (w->first + 1) % QUEUE_MAX;
		w->count--;
		p = &w->queue[w->first];
	}
}

/* Waits for a packet, or for the first that is due. */
static void
wait_for_packets(void)
{
	struct pollfd p[2];
	struct timespec t;
	int64_t first = INT64_MAX, left;
	int i;

	for (i = 0; i < 2; i++) {
		const struct way *w = &ways[i];

		p[i] = (struct pollfd){ .fd = w->from,
			.events = w->count < QUEUE_MAX ? POLLIN : 0 };
		if (w->count > 0 && w->queue[w->first].due_ns < first)
			first = w->queue[w->first].due_ns;
	}
	left = first - now_ns();
	if (left < 0)
		left = 0;
	t = (struct timespec){ left / 1000000000, left % 1000000000 };
	if (ppoll(p, 2, first == INT64_MAX ? NULL : &t, NULL) < 0 &&
	    errno != EINTR)
		err(1, "ppoll");
}

int
main(int argc, char **argv)
{
	int namespaces[2], tuns[2], i;
	char *end;
	long us;

	if (argc != 4)
		errx(2, "usage: delay MICROSECONDS ADDRESS ADDRESS");
	us = strtol(argv[1], &end, 10);
	if (*end != '\0' || us < 1 || us > 10000000)
		errx(2, "%s: not a number from 1 to 10000000", argv[1]);
	for (i = 0; i < 2; i++)
		tuns[i] = make_side(argv[2 + i], &namespaces[i]);
	for (i = 0; i < 2; i++) {
		ways[i].from = tuns[i];
		ways[i].to = tuns[!i];
	}
	prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
	printf("%d %d\n", namespaces[0], namespaces[1]);
	fflush(stdout);
	for (;;) {
		wait_for_packets();
		for (i = 0; i < 2; i++) {
			take_in(&ways[i], us * INT64_C(1000));
			pass_on(&ways[i]);
		}
	}
}
