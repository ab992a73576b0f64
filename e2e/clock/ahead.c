// SPDX-License-Identifier: EUPL-1.2
// A clock that is ten years ahead, for a browser: preloaded (LD_PRELOAD), it answers instead of the C library. Only the time of
// day is moved; what measures durations stays.
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const time_t ahead = 3653L * 86400;

int clock_gettime(clockid_t which, struct timespec *t) {
  int failed = syscall(SYS_clock_gettime, which, t);
  if (!failed && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) t->tv_sec += ahead;
  return failed;
}

int gettimeofday(struct timeval *t, void *zone) {
  struct timespec now;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &now);
  if (t) {
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
  }
  return 0;
}

time_t time(time_t *t) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (t) *t = now.tv_sec;
  return now.tv_sec;
}
