/* Prices from measurements: what whole programs ran, and how long that took. */
#ifndef INSTRUMENT_FIT_H
#define INSTRUMENT_FIT_H

#include "instrument/schedule.h"

/* One program: seconds measured without metering, instructions by class, and gas that was not paid for instructions (work by
 * size, host calls) and that the fit takes as given. */
struct fit_sample {
  double seconds;
  uint64_t instructions[COST_COUNT];
  double other_gas;
};

/* Gas of the program under these prices, in units of its time: 1 is one gas for 0.1 ns. */
double fit_ratio(const struct fit_sample *sample, const uint32_t *prices);

/* Geometric mean of the ratios, and their geometric standard deviation: 1 when gas is time. */
struct fit_spread {
  double mean, deviation;
};
struct fit_spread fit_spread(const struct fit_sample *samples, size_t n, const uint32_t *prices);

/* Prices for which gas follows time: the least squares of the logarithms of the ratios, less strict with those far off, none
 * below its class's minimum, none further than three times from `base`. Prices of classes that hardly occur stay near those of
 * `base`, scaled to the same time (ridge). `exact` are those of the fit, `rounded` the best whole numbers near them. */
void fit_prices(const struct fit_sample *samples, size_t n, const uint32_t *base, double *exact, uint32_t *rounded);

#endif
