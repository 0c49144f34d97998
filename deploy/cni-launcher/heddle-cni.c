/*
 * The CNI plugin binary: passes its environment and stdin to Heddle's gateway on a unix socket and relays the answer.
 * Static and tiny, because container runtimes execute it once per attachment. services/gateway/src/cni/frame.ts is the
 * other side. Without a gateway it answers itself: VERSION from a list, the rest with a CNI error object.
 *
 * Before it answers, the gateway may have it run other plugins (an IPAM delegate): here, because this process has the
 * runtime's environment, mounts and privileges, and because a fork of the gateway would hold up everybody else's calls.
 *
 * The socket is, in this order: HEDDLE_CNI_SOCKET, "socket" of the network configuration, the first line of
 * `<this binary>.conf`, SOCKET_PATH.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SOCKET_PATH
#define SOCKET_PATH "/run/heddle/cni.sock"
#endif
#define MAX_STDIN (1024 * 1024)
#define MAX_ANSWER (4 * 1024 * 1024)
/* In place of an exit status: run a plugin. In its answer: it is nowhere in CNI_PATH; it was ended, or said too much. */
#define RUN_PLUGIN 256
#define NO_PLUGIN 256
#define PLUGIN_ENDED 257
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

static int find_plugin(const char *name, char *path, size_t size) {
  const char *at = getenv("CNI_PATH");
  while (at != NULL && *at != 0) {
    size_t length = strcspn(at, ":");
    struct stat found;
    int n = snprintf(path, size, "%.*s/%s", (int)length, at, name);
    if (length > 0 && n > 0 && (size_t)n < size && stat(path, &found) == 0 && S_ISREG(found.st_mode) && access(path, X_OK) == 0) return 1;
    at += length + (at[length] == ':');
  }
  return 0;
}

/* This environment with `given` in place of variables of the same names. */
static char **environment_with(char **environment, char **given, size_t count) {
  size_t own = 0, n = 0;
  while (environment[own] != NULL) own++;
  char **all = malloc((own + count + 1) * sizeof *all);
  if (all == NULL) return NULL;
  for (size_t i = 0; i < own; i++) {
    int replaced = 0;
    for (size_t j = 0; j < count; j++) replaced |= strncmp(environment[i], given[j], strcspn(given[j], "=") + 1) == 0;
    if (!replaced) all[n++] = environment[i];
  }
  for (size_t j = 0; j < count; j++) all[n++] = given[j];
  all[n] = NULL;
  return all;
}

/* Two numbers and what was said. */
static void tell(int fd, uint32_t status, const char *said, size_t length) {
  char head[8];
  put_u32(head, status), put_u32(head + 4, length);
  send_all(fd, head, sizeof head), send_all(fd, said, length);
}

/*
 * `order`: name, milliseconds, variables, an empty text (each ended by NUL), configuration. The plugin's stderr is ours. It
 * ends with this process, which the runtime may kill: nobody would wait for it.
 */
static void run_plugin(int fd, char *order, size_t size, char **environment) {
  char *end = order + size, *name = order, *limit = name + strlen(name) + 1, *at = limit < end ? limit + strlen(limit) + 1 : end;
  char *given[16], path[4096];
  size_t count = 0;
  for (; at < end && *at != 0 && count < 16; at += strlen(at) + 1) given[count++] = at;
  if (at >= end || *at != 0) absent("no Heddle gateway answers on");
  char *config = at + 1;
  if (!find_plugin(name, path, sizeof path)) return tell(fd, NO_PLUGIN, "", 0);

  static char said[MAX_STDIN];
  char **all = environment_with(environment, given, count);
  size_t length = 0;
  int status = 0, ended = 0;
  int in = memfd_create("configuration", MFD_CLOEXEC), out[2];
  if (all == NULL || in < 0 || pipe2(out, O_CLOEXEC) < 0 || write(in, config, (size_t)(end - config)) != end - config || lseek(in, 0, SEEK_SET) < 0)
    fail(11, "a plugin could not be run for the gateway on", "see how much memory and how many files are free, and try again");
  pid_t child = fork();
  if (child == 0) {
    char *arguments[] = {path, NULL};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (dup2(in, STDIN_FILENO) < 0 || dup2(out[1], STDOUT_FILENO) < 0) _exit(127);
    execve(path, arguments, all);
    _exit(127);
  }
  close(in), close(out[1]);
  if (child < 0) fail(11, "a plugin could not be run for the gateway on", "see how many processes there are, and try again");
  int64_t until_ms = now_ms() + strtol(limit, NULL, 10);
  for (;;) {
    struct pollfd p = {.fd = out[0], .events = POLLIN};
    int64_t left = (until_ms < deadline_ms ? until_ms : deadline_ms) - now_ms();
    int n = left > 0 ? poll(&p, 1, (int)left) : 0;
    if (n < 0 && errno == EINTR) continue;
    ssize_t got = n > 0 && length < sizeof said ? read(out[0], said + length, sizeof said - length) : -1;
    if (n > 0 && got < 0 && errno == EINTR) continue;
    if (got < 0) {
      ended = 1;
      kill(child, SIGKILL);
    }
    if (got <= 0) break;
    length += (size_t)got;
  }
  close(out[0]);
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  free(all);
  tell(fd, ended || !WIFEXITED(status) ? PLUGIN_ENDED : (uint32_t)WEXITSTATUS(status), said, length);
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

  for (;;) {
    char head[8];
    receive_all(fd, head, sizeof head);
    uint32_t status = get_u32(head), length = get_u32(head + 4);
    if (status > RUN_PLUGIN || length > MAX_ANSWER) absent("no Heddle gateway answers on");
    char *answer = malloc(length + 1);
    if (answer == NULL) fail(11, "out of memory for the answer from", "free some memory and try again");
    receive_all(fd, answer, length);
    answer[length] = 0;
    if (status == RUN_PLUGIN) {
      run_plugin(fd, answer, length, environment);
      free(answer);
      continue;
    }
    put(answer, length);
    _exit((int)status);
  }
}
