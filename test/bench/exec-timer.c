/*
 * Times programs as their caller sees them: from before fork to after their exit, standard output read.
 * Reads jobs from standard input, one a line: id TAB executable TAB configuration file TAB NAME=value TAB NAME=value ...
 * Keeps PARALLEL (argument 1) of them running, writes one line a job in order of completion: id TAB exit code TAB
 * microseconds, and a last line: total TAB 0 TAB microseconds from the first start to the last end. What a failed one wrote goes to
 * standard error.
 * A small C program, because starting processes from a large one (Node) costs more than what is measured.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_JOBS = 8192, MAX_FIELDS = 24, OUT = 65536, KEPT = 512 };

struct job { char *field[MAX_FIELDS]; int fields; pid_t pid; int out; long start; char said[KEPT]; };
static struct job jobs[MAX_JOBS];

static long now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

static void start(struct job *job) {
  int pipes[2];
  if (pipe2(pipes, O_CLOEXEC) != 0) { perror("pipe2"); exit(2); }
  job->start = now_us();
  job->pid = vfork();
  if (job->pid == 0) {
    int in = open(job->field[2], O_RDONLY);
    if (in < 0) _exit(126);
    dup2(in, 0);
    dup2(pipes[1], 1);
    char *argv[] = { job->field[1], NULL };
    execve(job->field[1], argv, job->field + 3);
    _exit(127);
  }
  close(pipes[1]);
  job->out = pipes[0];
}

int main(int argc, char **argv) {
  int parallel = argc > 1 ? atoi(argv[1]) : 1, count = 0;
  char *line = NULL;
  size_t size = 0;
  for (ssize_t length; count < MAX_JOBS && (length = getline(&line, &size, stdin)) > 0; count++) {
    line[strcspn(line, "\n")] = 0;
    char *copy = strdup(line), *field;
    while ((field = strsep(&copy, "\t")) && jobs[count].fields < MAX_FIELDS - 1) jobs[count].field[jobs[count].fields++] = field;
    if (jobs[count].fields < 3) { fprintf(stderr, "bad job on line %d\n", count + 1); return 2; }
  }
  int next = 0, running = 0, done = 0;
  static char buffer[OUT];
  long begun = now_us();
  while (done < count) {
    while (running < parallel && next < count) { start(&jobs[next++]); running++; }
    struct pollfd polls[256];
    int owner[256], n = 0;
    for (int i = 0; i < next && n < 256; i++) if (jobs[i].out > 0) { polls[n] = (struct pollfd){ .fd = jobs[i].out, .events = POLLIN }; owner[n++] = i; }
    if (poll(polls, n, 60000) <= 0) { fprintf(stderr, "nothing ended for a minute\n"); return 3; }
    for (int i = 0; i < n; i++) {
      if (!polls[i].revents) continue;
      struct job *job = &jobs[owner[i]];
      ssize_t length = read(job->out, buffer, OUT);
      if (length > 0) {
        snprintf(job->said, KEPT, "%.*s", (int)length, buffer);
        continue;
      }
      int status;
      close(job->out);
      job->out = -1;
      waitpid(job->pid, &status, 0);
      if (status != 0) fprintf(stderr, "%s: %s\n", job->field[0], job->said);
      printf("%s\t%d\t%ld\n", job->field[0], WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), now_us() - job->start);
      running--;
      done++;
    }
  }
  printf("total\t0\t%ld\n", now_us() - begun);
  return 0;
}
