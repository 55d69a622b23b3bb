/* An endpoint that is never the bottleneck: canned answers of the OpenAI API over HTTP/1.1 keep-alive, one thread, epoll.
 *
 *   endpoint DELAY_MS      prints its port, answers every request after DELAY_MS, ends when standard input closes
 *
 * GET /v1/models lists 80 models, GET /v1/models/ID one, anything else is a chat completion.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST_FDS 65536
#define MOST_DUE (1 << 17)

struct connection { char *buffer; int length; };
struct due { long long at; int fd; unsigned generation; int kind; };

static struct connection connections[MOST_FDS];
static unsigned generations[MOST_FDS];
static struct due queue[MOST_DUE];
static unsigned head, tail;
static char answers[3][32768];
static int lengths[3];

static long long now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static void can(int kind, const char *body, int limits) {
    lengths[kind] = snprintf(answers[kind], sizeof answers[kind],
        "HTTP/1.1 200 OK\r\nDate: Mon, 23 Nov 2026 10:00:00 GMT\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
        "Connection: keep-alive\r\nopenai-version: 2020-10-01\r\nopenai-organization: acme-x1y2z3\r\n"
        "openai-processing-ms: 44\r\nopenai-project: proj_bench\r\nx-request-id: req_4ce6e6e89412aa340571cc40a0fb3a17\r\n"
        "x-envoy-upstream-service-time: 48\r\n%sstrict-transport-security: max-age=31536000\r\ncf-cache-status: DYNAMIC\r\n"
        "X-Content-Type-Options: nosniff\r\nServer: cloudflare\r\nCF-RAY: 9a2b6f6f9c5f1c2a-FRA\r\n\r\n%s",
        strlen(body),
        limits ? "x-ratelimit-limit-requests: 10000\r\nx-ratelimit-limit-tokens: 200000\r\nx-ratelimit-remaining-requests: 9999\r\n"
                 "x-ratelimit-remaining-tokens: 199990\r\nx-ratelimit-reset-requests: 6ms\r\nx-ratelimit-reset-tokens: 3ms\r\n" : "",
        body);
}

static void can_all(void) {
    static char list[16384];
    int at = sprintf(list, "{\"object\":\"list\",\"data\":[");
    for (int i = 0; i < 80; i++)
        at += sprintf(list + at, "%s{\"id\":\"gpt-4o-mini-2024-07-%02d\",\"object\":\"model\",\"created\":1721172741,\"owned_by\":\"system\"}",
                      i ? "," : "", i);
    sprintf(list + at, "]}");
    can(0, list, 0);
    can(1, "{\"id\":\"gpt-4o-mini\",\"object\":\"model\",\"created\":1721172741,\"owned_by\":\"system\"}", 0);
    can(2, "{\"id\":\"chatcmpl-FAKE\",\"object\":\"chat.completion\",\"created\":1795000000,\"model\":\"gpt-4o-mini\",\"choices\":[{\"index\":0,"
           "\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":8,"
           "\"completion_tokens\":1,\"total_tokens\":9}}", 1);
}

static void answer(int fd, int kind) {
    /* 20 KB at most and the peer reads: one write is enough on loopback. */
    if (write(fd, answers[kind], lengths[kind]) < 0 && errno != EAGAIN) shutdown(fd, SHUT_RDWR);
}

/* Bytes of the first whole request in the buffer, or 0. */
static int request_length(struct connection *c) {
    char *end = memmem(c->buffer, c->length, "\r\n\r\n", 4);
    if (!end) return 0;
    int size = end + 4 - c->buffer;
    if (c->buffer[0] != 'G') {
        *end = 0;
        char *field = strcasestr(c->buffer, "\ncontent-length:");
        *end = '\r';
        if (field) size += atoi(field + 16);
    }
    return size <= c->length ? size : 0;
}

static int kind_of(const char *request) {
    if (strncmp(request, "GET /v1/models", 14)) return 2;
    return request[14] == '/' ? 1 : 0;
}

int main(int argc, char **argv) {
    long long delay = argc > 1 ? atoll(argv[1]) * 1000 : 0;
    struct rlimit files = {MOST_FDS, MOST_FDS};
    setrlimit(RLIMIT_NOFILE, &files);
    can_all();
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(listener, (void *)&address, size) || listen(listener, 4096) || getsockname(listener, (void *)&address, &size)) return 1;
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    event.data.fd = 0;
    epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &event);
    for (;;) {
        int wait = -1;
        if (head != tail) {
            long long left = queue[head % MOST_DUE].at - now_us();
            wait = left > 0 ? (int)((left + 999) / 1000) : 0;
        }
        int n = epoll_wait(epoll, events, 256, wait);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == 0) return 0;
            if (fd == listener) {
                int peer;
                while ((peer = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0) {
                    int one = 1;
                    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    if (!connections[peer].buffer) connections[peer].buffer = malloc(16384);
                    connections[peer].length = 0;
                    generations[peer]++;
                    event.data.fd = peer;
                    epoll_ctl(epoll, EPOLL_CTL_ADD, peer, &event);
                }
                continue;
            }
            struct connection *c = &connections[fd];
            int got = read(fd, c->buffer + c->length, 16384 - c->length);
            if (got <= 0) {
                if (got < 0 && errno == EAGAIN) continue;
                generations[fd]++;
                close(fd);
                continue;
            }
            c->length += got;
            for (int taken; (taken = request_length(c)) > 0;) {
                int kind = kind_of(c->buffer);
                memmove(c->buffer, c->buffer + taken, c->length - taken);
                c->length -= taken;
                if (delay) queue[tail++ % MOST_DUE] = (struct due){now_us() + delay, fd, generations[fd], kind};
                else answer(fd, kind);
            }
        }
        for (long long now = now_us(); head != tail && queue[head % MOST_DUE].at <= now; head++) {
            struct due *d = &queue[head % MOST_DUE];
            if (d->generation == generations[d->fd]) answer(d->fd, d->kind);
        }
    }
}
