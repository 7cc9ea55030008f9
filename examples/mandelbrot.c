/* A picture of the Mandelbrot set as a BMP with 256 colours: ?width= &height= &iterations=. */
#include "gasworks_util.h"

enum { MAX_SIDE = 4096, MAX_ITERATIONS = 10000, PALETTE_ENTRIES = 256, HEADER_BYTES = 54, PALETTE_BYTES = PALETTE_ENTRIES * 4 };

static void put_u32(uint8_t *at, uint32_t value) {
  for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> 8 * i);
}

/* BITMAPFILEHEADER and BITMAPINFOHEADER of a picture with one byte per pixel, rows from the bottom up. */
static void reply_header(uint32_t width, uint32_t height, uint32_t stride) {
  uint8_t header[HEADER_BYTES] = {'B', 'M'};
  put_u32(header + 2, HEADER_BYTES + PALETTE_BYTES + stride * height);
  put_u32(header + 10, HEADER_BYTES + PALETTE_BYTES);
  put_u32(header + 14, 40);
  put_u32(header + 18, width);
  put_u32(header + 22, height);
  header[26] = 1; /* planes */
  header[28] = 8; /* bits per pixel */
  put_u32(header + 34, stride * height);
  put_u32(header + 46, PALETTE_ENTRIES);
  gw_reply(header, sizeof header);
}

/* From deep blue over gas-flame colours to white; the last entry, the set itself, is black. */
static void reply_palette(void) {
  uint8_t palette[PALETTE_BYTES] = {0};
  for (uint32_t i = 0; i < PALETTE_ENTRIES - 1; i++) {
    palette[4 * i + 0] = (uint8_t)(i < 96 ? 64 + 2 * i : 255);
    palette[4 * i + 1] = (uint8_t)(i < 32 ? 0 : i < 160 ? (i - 32) * 3 / 2 : 192 + (i - 160) / 2);
    palette[4 * i + 2] = (uint8_t)(i < 96 ? 0 : i < 223 ? (i - 96) * 2 : 255);
  }
  gw_reply(palette, sizeof palette);
}

static uint8_t colour(double cx, double cy, uint32_t iterations) {
  double x = 0, y = 0;
  for (uint32_t i = 0; i < iterations; i++) {
    double xx = x * x, yy = y * y;
    if (xx + yy > 4) return (uint8_t)(i * 5 % (PALETTE_ENTRIES - 1));
    y = 2 * x * y + cy;
    x = xx - yy + cx;
  }
  return PALETTE_ENTRIES - 1;
}

GW_HANDLER(void) {
  static uint8_t row[MAX_SIDE];
  uint32_t width = (uint32_t)gw_query_number("width", 640, MAX_SIDE);
  uint32_t height = (uint32_t)gw_query_number("height", 400, MAX_SIDE);
  uint32_t iterations = (uint32_t)gw_query_number("iterations", 200, MAX_ITERATIONS);
  if (width == 0 || height == 0) {
    gw_reply_error(400, "the picture needs a width and a height of at least 1");
    return;
  }
  uint32_t stride = (width + 3) & ~3u;
  double scale = 3.0 / width;
  gw_reply_type("image/bmp");
  reply_header(width, height, stride);
  reply_palette();
  for (uint32_t j = 0; j < height; j++) {
    double cy = ((double)j - height / 2.0) * scale;
    for (uint32_t i = 0; i < width; i++) row[i] = colour(i * scale - 2.2, cy, iterations);
    gw_reply(row, stride);
  }
}
