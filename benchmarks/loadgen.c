/* Closed-loop HTTP/1.1 load: every connection sends a request, checks the answer, sends the next.
 *
 *   loadgen HOST PORT CONNECTIONS WARM_S MEASURE_S PATH CASES
 *
 * CASES is a text file of pairs of lines: a request body, then the exact body of the right answer. If PATH is `-`, CASES
 * is a file of pairs of a whole request, headers and all, and the answer's body, each after its length (32 bits, in this
 * machine's order): bodies that are no text. Connection k starts at
 * case k, so that neighbours in a batch ask for different rows. One thread, epoll, keep-alive; a request is timed
 * from its first byte written to the last byte of the answer read. One JSON object is printed. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CASES = 4096, ANSWER_BYTES = 16384, EVENTS = 512 };

struct text {
    char *bytes;
    size_t size;
};

struct exchange {
    struct text request, answer;
};

struct connection {
    int fd;
    int which;   /* the case in flight */
    int waiting; /* for room to write */
    size_t sent, received;
    double started_s;
    char answer[ANSWER_BYTES + 1];
};

static struct exchange cases[MAX_CASES];
static int case_count, epoll_fd;
static struct sockaddr_in server;
static double measure_from_s, measure_to_s;
static double *latencies_s;
static size_t latency_count, latency_room;
static long right, wrong, failed, answers;
static char first_wrong[400];

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void die(const char *what) {
    fprintf(stderr, "loadgen: %s\n", what);
    exit(2);
}

static void wait_for_room(struct connection *c, int waiting) {
    struct epoll_event event = {.events = EPOLLIN | (waiting ? EPOLLOUT : 0), .data.ptr = c};
    if (waiting != c->waiting) epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
    c->waiting = waiting;
}

static void write_more(struct connection *c) {
    struct text *request = &cases[c->which].request;
    while (c->sent < request->size) {
        ssize_t n = send(c->fd, request->bytes + c->sent, request->size - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            wait_for_room(c, 1); /* full, or broken: then reading will tell */
            return;
        }
        c->sent += (size_t)n;
    }
    wait_for_room(c, 0);
}

static void begin(struct connection *c) {
    c->sent = c->received = 0;
    c->started_s = now_s();
    write_more(c);
}

static void connect_again(struct connection *c) {
    int one = 1;
    if (c->fd >= 0) close(c->fd);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    for (int attempt = 0; connect(c->fd, (struct sockaddr *)&server, sizeof server) < 0; attempt++) {
        if (attempt == 100) die("cannot connect");
        usleep(20000);
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event);
    c->waiting = 0;
    begin(c);
}

static void keep_latency(double s) {
    if (latency_count == latency_room) {
        latency_room = latency_room ? latency_room * 2 : 65536;
        latencies_s = realloc(latencies_s, latency_room * sizeof *latencies_s);
        if (!latencies_s) die("out of memory");
    }
    latencies_s[latency_count++] = s;
}

static void complain(struct connection *c) {
    if (!first_wrong[0]) snprintf(first_wrong, sizeof first_wrong, "%.390s", c->answer);
}

/* The whole answer is there: judge it, count it, send the next request. */
static void finish(struct connection *c, const char *body, size_t size, int status) {
    double t = now_s();
    struct text *answer = &cases[c->which].answer;
    int good = status == 200 && size == answer->size && !memcmp(body, answer->bytes, size);
    answers++;
    if (!good) complain(c);
    if (t >= measure_from_s && t <= measure_to_s) {
        good ? right++ : wrong++;
        keep_latency(t - c->started_s);
    } else if (!good) {
        wrong++; /* a wrong answer counts whenever it comes */
    }
    c->which = (c->which + 1) % case_count;
    c->answer[c->received] = 0;
    if (strcasestr(c->answer, "connection: close"))
        connect_again(c);
    else
        begin(c);
}

static void read_more(struct connection *c) {
    ssize_t n = recv(c->fd, c->answer + c->received, ANSWER_BYTES - c->received, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
        failed++;
        connect_again(c);
        return;
    }
    c->received += (size_t)n;
    c->answer[c->received] = 0;
    char *end = strstr(c->answer, "\r\n\r\n");
    if (!end) return;
    char *length = strcasestr(c->answer, "\r\ncontent-length:");
    if (!length || length > end) {
        complain(c);
        die("an answer without content-length");
    }
    size_t head = (size_t)(end + 4 - c->answer), size = strtoul(length + 17, NULL, 10);
    if (head + size > ANSWER_BYTES) die("an answer larger than expected");
    if (c->received >= head + size) finish(c, c->answer + head, size, atoi(c->answer + 9));
}

static void read_cases(const char *path, const char *name) {
    FILE *file = fopen(path, "r");
    char *body = NULL, *answer = NULL;
    size_t body_room = 0, answer_room = 0;
    ssize_t n, m;
    if (!file) die("cannot open the cases");
    while (case_count < MAX_CASES && (n = getline(&body, &body_room, file)) > 1 &&
           (m = getline(&answer, &answer_room, file)) > 0) {
        struct exchange *e = &cases[case_count++];
        body[n - 1] = answer[m - 1] = 0;
        int size = asprintf(&e->request.bytes,
                            "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                            "Content-Length: %zd\r\n\r\n%s",
                            name, n - 1, body);
        e->request.size = (size_t)size;
        e->answer.bytes = strdup(answer);
        e->answer.size = strlen(answer);
    }
    fclose(file);
    if (!case_count) die("no cases");
}

static struct text read_sized(FILE *file) {
    unsigned size;
    struct text t = {NULL, 0};
    if (fread(&size, sizeof size, 1, file) != 1) return t;
    t.bytes = malloc(size + 1);
    t.size = size;
    if (!t.bytes || fread(t.bytes, 1, size, file) != size) die("the cases end too early");
    t.bytes[size] = 0;
    return t;
}

static void read_whole_cases(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) die("cannot open the cases");
    while (case_count < MAX_CASES) {
        struct exchange e = {read_sized(file), {NULL, 0}};
        if (!e.request.bytes) break;
        e.answer = read_sized(file);
        if (!e.answer.bytes) die("the cases end too early");
        cases[case_count++] = e;
    }
    fclose(file);
    if (!case_count) die("no cases");
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile_ms(double p) {
    return latency_count ? latencies_s[(size_t)(p * (double)(latency_count - 1) + 0.5)] * 1e3 : 0;
}

static void report(double measure_s) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu_s = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                   (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
    qsort(latencies_s, latency_count, sizeof *latencies_s, ascending);
    for (char *p = first_wrong; *p; p++)
        if (*p == '"' || *p == '\\' || *p < ' ') *p = ' ';
    printf("{\"answers\":%ld,\"right\":%ld,\"wrong\":%ld,\"failed\":%ld,\"per_s\":%.1f,\"p50_ms\":%.4f,\"p99_ms\":%.4f,"
           "\"max_ms\":%.3f,\"own_cpu_s\":%.3f,\"first_wrong\":\"%s\"}\n",
           answers, right, wrong, failed, (double)right / measure_s, percentile_ms(.5), percentile_ms(.99), percentile_ms(1),
           cpu_s, first_wrong);
}

int main(int count, char **arguments) {
    if (count != 8) die("usage: loadgen HOST PORT CONNECTIONS WARM_S MEASURE_S PATH CASES");
    int connections = atoi(arguments[3]);
    double measure_s = atof(arguments[5]);
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)atoi(arguments[2]));
    if (inet_pton(AF_INET, arguments[1], &server.sin_addr) != 1) die("HOST must be an IPv4 address");
    if (strcmp(arguments[6], "-"))
        read_cases(arguments[7], arguments[6]);
    else
        read_whole_cases(arguments[7]);
    epoll_fd = epoll_create1(0);
    measure_from_s = now_s() + atof(arguments[4]);
    measure_to_s = measure_from_s + measure_s;
    struct connection *all = calloc((size_t)connections, sizeof *all);
    if (!all) die("out of memory");
    for (int k = 0; k < connections; k++) {
        all[k].fd = -1;
        all[k].which = k % case_count;
        connect_again(&all[k]);
    }
    static struct epoll_event events[EVENTS];
    while (now_s() < measure_to_s) {
        int n = epoll_wait(epoll_fd, events, EVENTS, 50);
        for (int k = 0; k < n; k++) {
            struct connection *c = events[k].data.ptr;
            if (events[k].events & EPOLLOUT) write_more(c);
            if (events[k].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) read_more(c);
        }
    }
    report(measure_s);
    return wrong || failed ? 1 : 0;
}
