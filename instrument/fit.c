/* Minimised over the prices x, for programs p and classes c:
 *
 *   sum_p loss(log ratio_p(x)) + RIDGE * sum_c ((x_c - base_c) / max(base_c, 1))^2
 *
 * The loss is Cauchy's: the square of small errors, and nearly flat beyond KNEE. Some programs no prices of instructions can fit
 * (a loop that the compiler vectorises takes a tenth of the time of the same instructions in another order); squares would bend
 * all prices towards them.
 *
 * A price stays within a third and three times that of the base, where one is 0 it stays 0: where programs disagree, squares like
 * to pay for one class with another, and nothing that has a cost on the processor may come out as free.
 *
 * Gauss-Newton: the logarithm is replaced by its tangent and the loss by a weighted square; what is left is linear least squares
 * with lower bounds and strictly convex, so that descent along one coordinate after the other finds its only minimum; a few
 * rounds of that settle. */
#include "instrument/fit.h"

#include "base/heap.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

enum { ROUNDS = 40, SWEEPS = 400 };

static const double RIDGE = 0.02, KNEE = 0.5, REACH = 3, TICKS = 1e10; /* gas per second */

struct fit {
  const struct fit_sample *samples;
  size_t n;
  double base[COST_COUNT];
  double low[COST_COUNT], high[COST_COUNT]; /* what prices may be */
  bool is_used[COST_COUNT];                 /* the class counts in some program */
};

static double ratio(const struct fit_sample *s, const double *x) {
  double gas = s->other_gas;
  for (int c = 0; c < COST_COUNT; c++) gas += (double)s->instructions[c] * x[c];
  return gas / (s->seconds * TICKS);
}

static void to_double(const uint32_t *prices, double *out) {
  for (int c = 0; c < COST_COUNT; c++) out[c] = prices[c];
}

double fit_ratio(const struct fit_sample *sample, const uint32_t *prices) {
  double x[COST_COUNT];
  to_double(prices, x);
  return ratio(sample, x);
}

static struct fit_spread spread(const struct fit_sample *samples, size_t n, const double *x) {
  double sum = 0, squares = 0;
  for (size_t p = 0; p < n; p++) sum += log(ratio(&samples[p], x));
  double mean = n ? sum / (double)n : 0;
  for (size_t p = 0; p < n; p++) squares += pow(log(ratio(&samples[p], x)) - mean, 2);
  return (struct fit_spread){exp(mean), exp(sqrt(n > 1 ? squares / (double)(n - 1) : 0))};
}

struct fit_spread fit_spread(const struct fit_sample *samples, size_t n, const uint32_t *prices) {
  double x[COST_COUNT];
  to_double(prices, x);
  return spread(samples, n, x);
}

static double scale(const struct fit *f, int c) { return f->base[c] > 1 ? f->base[c] : 1; }

static double loss(double e) { return KNEE * KNEE * log1p(e * e / (KNEE * KNEE)); }

/* Of the square that stands for the loss around e. */
static double weight(double e) { return 1 / (1 + e * e / (KNEE * KNEE)); }

static double objective(const struct fit *f, const double *x) {
  double sum = 0;
  for (size_t p = 0; p < f->n; p++) sum += loss(log(ratio(&f->samples[p], x)));
  for (int c = 0; c < COST_COUNT; c++)
    if (f->is_used[c]) sum += RIDGE * pow((x[c] - f->base[c]) / scale(f, c), 2);
  return sum;
}

/* The linear problem around x: rows[p] * y = targets[p] in the least squares. */
struct linear {
  double (*rows)[COST_COUNT];
  double *left; /* targets[p] - rows[p] * y */
};

static void linearise(const struct fit *f, const double *x, struct linear *l) {
  for (size_t p = 0; p < f->n; p++) {
    const struct fit_sample *s = &f->samples[p];
    double r = ratio(s, x), w = sqrt(weight(log(r)));
    for (int c = 0; c < COST_COUNT; c++) l->rows[p][c] = w * (double)s->instructions[c] / (s->seconds * TICKS) / r;
    l->left[p] = -w * log(r); /* log r + rows * (y - x) = 0 */
  }
}

static void descend(const struct fit *f, const struct linear *l, double *y) {
  for (int sweep = 0; sweep < SWEEPS; sweep++) {
    for (int c = 0; c < COST_COUNT; c++) {
      if (!f->is_used[c]) continue;
      double ridge = RIDGE / (scale(f, c) * scale(f, c));
      double slope = ridge * (f->base[c] - y[c]), curvature = ridge;
      for (size_t p = 0; p < f->n; p++) {
        slope += l->rows[p][c] * l->left[p];
        curvature += l->rows[p][c] * l->rows[p][c];
      }
      double next = fmin(fmax(y[c] + slope / curvature, f->low[c]), f->high[c]), step = next - y[c];
      for (size_t p = 0; p < f->n; p++) l->left[p] -= l->rows[p][c] * step;
      y[c] = next;
    }
  }
}

/* Half the way, and again, until the sum is smaller than before. */
static void step_towards(const struct fit *f, const double *y, double *x) {
  double before = objective(f, x);
  for (double part = 1; part > 1e-3; part /= 2) {
    double z[COST_COUNT];
    for (int c = 0; c < COST_COUNT; c++) z[c] = x[c] + part * (y[c] - x[c]);
    if (objective(f, z) >= before) continue;
    for (int c = 0; c < COST_COUNT; c++) x[c] = z[c];
    return;
  }
}

/* Whole numbers: the nearest ones, then one up or down wherever that helps. */
static void round_prices(const struct fit *f, const double *exact, double *x) {
  for (int c = 0; c < COST_COUNT; c++) x[c] = nearbyint(exact[c]);
  for (bool is_better = true; is_better;) {
    is_better = false;
    for (int c = 0; c < COST_COUNT; c++) {
      for (int step = -1; step <= 1 && f->is_used[c]; step += 2) {
        double before = objective(f, x), old = x[c];
        if (old + step < f->low[c] || old + step > f->high[c]) continue;
        x[c] = old + step;
        if (objective(f, x) < before - 1e-12)
          is_better = true;
        else
          x[c] = old;
      }
    }
  }
}

static int compare_doubles(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

/* What makes the middle program's gas its time. */
static double middle_factor(const struct fit_sample *samples, size_t n, const uint32_t *prices) {
  double *ratios = heap_new(n + 1, sizeof *ratios);
  for (size_t p = 0; p < n; p++) ratios[p] = fit_ratio(&samples[p], prices);
  qsort(ratios, n, sizeof *ratios, compare_doubles);
  double middle = n ? ratios[n / 2] : 1;
  free(ratios);
  return middle > 0 ? 1 / middle : 1;
}

/* Whether the class is more than a thousandth of what the program costs. */
static bool counts_in(const struct fit_sample *s, const uint32_t *base, int c) {
  double ticks = fit_ratio(s, base) * s->seconds * TICKS;
  return (double)s->instructions[c] * fmax(base[c], 1) > ticks / 1000;
}

/* Classes that hardly occur keep their price. */
static void fit_init(struct fit *f, const struct fit_sample *samples, size_t n, const uint32_t *base) {
  *f = (struct fit){.samples = samples, .n = n};
  double factor = middle_factor(samples, n, base);
  for (int c = 0; c < COST_COUNT; c++) {
    for (size_t p = 0; p < n; p++) f->is_used[c] |= counts_in(&samples[p], base, c);
    f->low[c] = fmax(ceil(base[c] / REACH), cost_least((enum cost)c));
    f->high[c] = fmin(fmax(base[c] * REACH, f->low[c]), SCHEDULE_MAX_PRICE);
    f->base[c] = f->is_used[c] ? fmin(fmax(base[c] * factor, f->low[c]), f->high[c]) : base[c];
  }
}

void fit_prices(const struct fit_sample *samples, size_t n, const uint32_t *base, double *exact, uint32_t *rounded) {
  struct fit f;
  fit_init(&f, samples, n, base);
  struct linear l = {heap_new(n + 1, sizeof *l.rows), heap_new(n + 1, sizeof *l.left)};
  double y[COST_COUNT], x[COST_COUNT];
  for (int c = 0; c < COST_COUNT; c++) exact[c] = f.base[c];
  for (int round = 0; round < ROUNDS; round++) {
    for (int c = 0; c < COST_COUNT; c++) y[c] = exact[c];
    linearise(&f, exact, &l);
    descend(&f, &l, y);
    step_towards(&f, y, exact);
  }
  round_prices(&f, exact, x);
  for (int c = 0; c < COST_COUNT; c++) rounded[c] = (uint32_t)x[c];
  free(l.rows);
  free(l.left);
}
