/*
 * The CNI plugin binary: passes its environment and stdin to Heddle's gateway on a unix socket and relays the answer.
 * Static and tiny, because container runtimes execute it once per attachment. services/gateway/src/cni/frame.ts is the
 * other side. Without a gateway it answers itself: VERSION from a list, the rest with a CNI error object.
 *
 * The socket is, in this order: HEDDLE_CNI_SOCKET, "socket" of the network configuration, the first line of
 * `<this binary>.conf`, SOCKET_PATH.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef SOCKET_PATH
#define SOCKET_PATH "/run/heddle/cni.sock"
#endif
#define MAX_STDIN (1024 * 1024)
#define MAX_ANSWER (4 * 1024 * 1024)
#define SUPPORTED "[\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]"

static const char *command = "";
static char socket_path[sizeof(((struct sockaddr_un *)0)->sun_path)] = SOCKET_PATH;
static char version[16] = "1.1.0";
static int64_t deadline_ms;

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void put(const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t n = write(STDOUT_FILENO, bytes, length);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) _exit(1);
    bytes += n;
    length -= (size_t)n;
  }
}

/* Prints a CNI error object and ends. `what` and `remedy` are ours and need no escaping; the socket path was checked. */
static void fail(int code, const char *what, const char *remedy) {
  char text[1024];
  int n = snprintf(text, sizeof text, "{\"cniVersion\":\"%s\",\"code\":%d,\"msg\":\"%s %s; %s\"}\n", version, code, what, socket_path, remedy);
  put(text, (size_t)n);
  _exit(1);
}

/* The gateway is not there: an answer of our own. */
static void absent(const char *what) {
  if (strcmp(command, "VERSION") == 0) {
    char text[256];
    int n = snprintf(text, sizeof text, "{\"cniVersion\":\"%s\",\"supportedVersions\":" SUPPORTED "}\n", version);
    put(text, (size_t)n);
    _exit(0);
  }
  fail(strcmp(command, "STATUS") == 0 ? 50 : 11, what, "start it with `systemctl start heddle-host` (on a single machine: heddle) or `heddle up`, then try again");
}

static void wait_for(int fd, short events) {
  struct pollfd p = {.fd = fd, .events = events};
  for (;;) {
    int64_t left = deadline_ms - now_ms();
    int n = left > 0 ? poll(&p, 1, (int)left) : 0;
    if (n > 0) return;
    if (n < 0 && errno == EINTR) continue;
    absent("no answer in time from the Heddle gateway on");
  }
}

static void send_all(int fd, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
      wait_for(fd, POLLOUT);
      continue;
    }
    if (n <= 0) absent("the connection was lost to the Heddle gateway on");
    bytes += n;
    length -= (size_t)n;
  }
}

static void receive_all(int fd, char *bytes, size_t length) {
  while (length > 0) {
    ssize_t n = recv(fd, bytes, length, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
      wait_for(fd, POLLIN);
      continue;
    }
    if (n <= 0) absent("the connection was lost to the Heddle gateway on");
    bytes += n;
    length -= (size_t)n;
  }
}

static void put_u32(char *at, size_t value) {
  for (int i = 0; i < 4; i++) at[i] = (char)(value >> (24 - 8 * i));
}

static uint32_t get_u32(const char *at) {
  const unsigned char *b = (const unsigned char *)at;
  return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* A path that fits a socket address and needs no escaping in JSON. */
static void use_path(const char *path, size_t length) {
  if (length == 0 || length >= sizeof socket_path || *path != '/') return;
  for (size_t i = 0; i < length; i++)
    if ((unsigned char)path[i] < 0x20 || path[i] == '"' || path[i] == '\\' || (unsigned char)path[i] > 0x7e) return;
  memcpy(socket_path, path, length);
  socket_path[length] = 0;
}

/*
 * The string value of this key of the configuration itself, not of an object in it, or NULL: enough for values of ours,
 * which need no escaping.
 */
static const char *find_string(const char *json, const char *key, size_t *length) {
  int depth = 0;
  for (const char *at = json; *at != 0; at++) {
    if (*at == '{' || *at == '[') depth++;
    if (*at == '}' || *at == ']') depth--;
    if (*at != '"') continue;
    const char *text = ++at;
    while (*at != 0 && *at != '"') at += *at == '\\' && at[1] != 0 ? 2 : 1;
    if (*at == 0) return NULL;
    if (depth != 1 || (size_t)(at - text) != strlen(key) || memcmp(text, key, strlen(key)) != 0) continue;
    const char *value = at + 1;
    value += strspn(value, " \t\r\n");
    if (*value++ != ':') continue;
    value += strspn(value, " \t\r\n");
    if (*value++ != '"') return NULL;
    *length = strcspn(value, "\"\\");
    return value[*length] == '"' ? value : NULL;
  }
  return NULL;
}

static void find_socket(const char *json) {
  size_t length;
  const char *given = getenv("HEDDLE_CNI_SOCKET"), *configured = find_string(json, "socket", &length);
  if (given != NULL && *given != 0) {
    use_path(given, strlen(given));
    return;
  }
  if (configured != NULL) {
    use_path(configured, length);
    return;
  }
  char path[4096 + 8], line[256];
  ssize_t n = readlink("/proc/self/exe", path, 4096);
  if (n <= 0) return;
  memcpy(path + n, ".conf", 6);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  n = read(fd, line, sizeof line - 1);
  close(fd);
  if (n <= 0) return;
  line[n] = 0;
  use_path(line, strcspn(line, "\r\n"));
}

/* The configuration's cniVersion, for errors of our own, if it looks like one. */
static void find_version(const char *json) {
  size_t length;
  const char *at = find_string(json, "cniVersion", &length);
  if (at == NULL || length == 0 || length >= sizeof version || strspn(at, "0123456789.") < length) return;
  memcpy(version, at, length);
  version[length] = 0;
}

static int is_ours(const char *entry) {
  return strncmp(entry, "CNI_", 4) == 0 || strncmp(entry, "TRACEPARENT=", 12) == 0 || strncmp(entry, "TRACESTATE=", 11) == 0 ||
         strncmp(entry, "BAGGAGE=", 8) == 0;
}

int main(int argc, char **argv, char **environment) {
  (void)argc, (void)argv;
  const char *given = getenv("CNI_COMMAND"), *timeout = getenv("HEDDLE_CNI_TIMEOUT_MS");
  if (given == NULL) {
    static const char about[] = "CNI heddle plugin\nCNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n";
    return write(STDERR_FILENO, about, sizeof about - 1) < 0;
  }
  command = given;
  long limit_ms = timeout == NULL ? 0 : strtol(timeout, NULL, 10);
  deadline_ms = now_ms() + (limit_ms > 0 && limit_ms < 30000 ? limit_ms : 30000);

  /* One buffer, one send: "HCN1", environment, stdin. */
  size_t environment_bytes = 0, stdin_bytes = 0;
  for (char **e = environment; *e != NULL; e++)
    if (is_ours(*e)) environment_bytes += strlen(*e) + 1;
  char *request = malloc(12 + environment_bytes + MAX_STDIN + 2);
  if (request == NULL) fail(11, "out of memory before asking the gateway on", "free some memory and try again");
  memcpy(request, "HCN1", 4);
  put_u32(request + 4, environment_bytes);
  char *at = request + 8;
  for (char **e = environment; *e != NULL; e++)
    if (is_ours(*e)) at = stpcpy(at, *e) + 1;
  char *config = at + 4;
  while (stdin_bytes <= MAX_STDIN) {
    wait_for(STDIN_FILENO, POLLIN);
    ssize_t n = read(STDIN_FILENO, config + stdin_bytes, MAX_STDIN + 1 - stdin_bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    stdin_bytes += (size_t)n;
  }
  if (stdin_bytes > MAX_STDIN) fail(6, "the network configuration is larger than 1 MiB, so it was not sent to", "make it smaller");
  config[stdin_bytes] = 0;
  find_version(config);
  find_socket(config);
  put_u32(at, stdin_bytes);

  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  memcpy(address.sun_path, socket_path, sizeof socket_path);
  /* Blocking on purpose: a listener with a full queue makes a caller that will not wait fail at once. */
  int64_t left_ms = deadline_ms - now_ms();
  struct timeval patience = {.tv_sec = left_ms / 1000, .tv_usec = left_ms % 1000 * 1000 + 1};
  if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) absent("the Heddle gateway is not listening on");
  fcntl(fd, F_SETFL, O_NONBLOCK);
  send_all(fd, request, 12 + environment_bytes + stdin_bytes);

  char head[8];
  receive_all(fd, head, sizeof head);
  uint32_t status = get_u32(head), length = get_u32(head + 4);
  if (status > 255 || length > MAX_ANSWER) absent("no Heddle gateway answers on");
  char *answer = malloc(length + 1);
  if (answer == NULL) fail(11, "out of memory for the answer from", "free some memory and try again");
  receive_all(fd, answer, length);
  put(answer, length);
  _exit((int)status);
}
