/* Shared by sink.c and source.c: clock and a log-linear latency histogram. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H
#include <stdint.h>
#include <string.h>
#include <time.h>

static inline uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* 32 sub-buckets per power of two: percentile error below 3.2 %. */
#define HIST_SUB 5
#define HIST_N   (64 << HIST_SUB)
struct hist {
	uint64_t n, sum, max;
	uint32_t b[HIST_N];
};

static inline int hist_idx(uint64_t v)
{
	int e;

	if (v < (1u << HIST_SUB))
		return (int)v;
	e = 63 - __builtin_clzll(v) - HIST_SUB;
	return (int)(((uint64_t)(e + 1) << HIST_SUB) + ((v >> e) - (1u << HIST_SUB)));
}

static inline double hist_val(int i)
{
	int e;

	if (i < (1 << HIST_SUB))
		return i;
	e = (i >> HIST_SUB) - 1;
	return ((double)((i & ((1 << HIST_SUB) - 1)) + (1 << HIST_SUB)) + 0.5) *
	       (double)(1ull << e);
}

static inline void hist_add(struct hist *h, uint64_t v)
{
	h->n++;
	h->sum += v;
	if (v > h->max)
		h->max = v;
	h->b[hist_idx(v)]++;
}

static inline void hist_merge(struct hist *d, const struct hist *s)
{
	d->n += s->n;
	d->sum += s->sum;
	if (s->max > d->max)
		d->max = s->max;
	for (int i = 0; i < HIST_N; i++)
		d->b[i] += s->b[i];
}

static inline double hist_pct(const struct hist *h, double p)
{
	uint64_t want = (uint64_t)((double)h->n * p), c = 0;

	if (!h->n)
		return 0;
	if (want >= h->n)
		want = h->n - 1;
	for (int i = 0; i < HIST_N; i++) {
		c += h->b[i];
		if (c > want)
			return hist_val(i);
	}
	return (double)h->max;
}
#endif
