// Merges rows of one tensor in a single pass: dequantise, add B A, quantise, read back, measure what was kept.
//
// A few rows at a time go through all the steps while they are in the processor's first caches; done step by step
// over a whole chunk, as merge_rows.py does it without a C compiler, each step waits for memory. The arithmetic of
// the types is ggml's: its functions come in as pointers.

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { ROWS = 4, LANES = 8, WIDE = 2 * LANES };  // ROWS * WIDE sums fill the registers

typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

typedef void (*convert)(const void * from, void * to, int64_t elements);
typedef size_t (*quantize_chunk)(
    int type, const float * from, void * to, int64_t start, int64_t rows, int64_t columns, const float * imatrix);

struct job {
    convert read;            // blocks to float32; NULL = they are
    convert write;           // float32 to blocks; NULL = by `quantize`
    quantize_chunk quantize;
    convert read_back;
    int32_t type;            // for `quantize`
    int32_t rank;
    int64_t rows, columns;
    int64_t before, after;   // bytes of a row
    const uint8_t * source;
    uint8_t * target;
    const float * a;         // (rank, columns)
    const float * b;         // (rows, rank)
    float * scratch;         // (rank + ROWS + 2) * columns, from a cache line's border
};

static void read_row(convert read, const uint8_t * from, float * to, int64_t columns) {
    if (read) read(from, to, columns);
    else memcpy(to, from, sizeof(float) * columns);
}

// A (rank, columns) as (columns / WIDE, rank, WIDE): what is multiplied in turn lies side by side.
static void pack(const struct job * job, float * packed) {
    for (int64_t c = 0; c + WIDE <= job->columns; c += WIDE)
        for (int64_t r = 0; r < job->rank; r++)
            memcpy(packed + c * job->rank + r * WIDE, job->a + r * job->columns + c, sizeof(float) * WIDE);
}

// change (ROWS, columns) = b A for `count` rows of b, 1 <= count <= ROWS; the others repeat the last.
static void low_rank_rows(const struct job * job, const float * packed, const float * b, int count, float * change) {
    const int64_t columns = job->columns, rank = job->rank;
    const float * row[ROWS];
    for (int i = 0; i < ROWS; i++) row[i] = b + (i < count ? i : count - 1) * rank;
    int64_t c = 0;
    for (; c + WIDE <= columns; c += WIDE) {
        lanes sum[ROWS][2] = {0};
        for (int64_t r = 0; r < rank; r++) {
            const lanes first = *(const lanes *) packed, second = *(const lanes *) (packed + LANES);
            for (int i = 0; i < ROWS; i++) {
                sum[i][0] += row[i][r] * first;
                sum[i][1] += row[i][r] * second;
            }
            packed += WIDE;
        }
        for (int i = 0; i < ROWS; i++) {
            *(lanes *) (change + i * columns + c) = sum[i][0];
            *(lanes *) (change + i * columns + c + LANES) = sum[i][1];
        }
    }
    for (; c < columns; c++) {
        for (int i = 0; i < ROWS; i++) {
            float sum = 0;
            for (int64_t r = 0; r < rank; r++) sum += row[i][r] * job->a[r * columns + c];
            change[i * columns + c] = sum;
        }
    }
}

static double total(lanes sums) {
    double all = 0;
    for (int i = 0; i < LANES; i++) all += sums[i];
    return all;
}

// sums += <E, D>, <D, D>, <E, E>, <W, W> of one row, with E = stored - W
static void inner_products(
    const float * stored, const float * weight, const float * change, int64_t columns, double * sums) {
    lanes e_d = {0}, d_d = {0}, e_e = {0}, w_w = {0};
    int64_t c = 0;
    for (; c + LANES <= columns; c += LANES) {
        const lanes w = *(const lanes *) (weight + c), d = *(const lanes *) (change + c);
        const lanes e = *(const lanes *) (stored + c) - w;
        e_d += e * d;
        d_d += d * d;
        e_e += e * e;
        w_w += w * w;
    }
    double rest[4] = {0};
    for (; c < columns; c++) {
        const float w = weight[c], d = change[c], e = stored[c] - w;
        rest[0] += e * d;
        rest[1] += d * d;
        rest[2] += e * e;
        rest[3] += w * w;
    }
    sums[0] += total(e_d) + rest[0];
    sums[1] += total(d_d) + rest[1];
    sums[2] += total(e_e) + rest[2];
    sums[3] += total(w_w) + rest[3];
}

void merge_rows(const struct job * job, double * sums) {
    const int64_t columns = job->columns;
    float * packed = job->scratch, * change = packed + job->rank * columns;
    float * weight = change + ROWS * columns, * merged = weight + columns;
    pack(job, packed);
    for (int64_t at = 0; at < job->rows; at += ROWS) {
        const int count = job->rows - at < ROWS ? (int) (job->rows - at) : ROWS;
        low_rank_rows(job, packed, job->b + at * job->rank, count, change);
        for (int i = 0; i < count; i++) {
            const float * d = change + i * columns;
            uint8_t * to = job->target + (at + i) * job->after;
            read_row(job->read, job->source + (at + i) * job->before, weight, columns);
            for (int64_t c = 0; c < columns; c++) merged[c] = weight[c] + d[c];
            if (job->write) job->write(merged, to, columns);
            else job->quantize(job->type, merged, to, 0, 1, columns, NULL);
            read_row(job->read_back, to, merged, columns);
            inner_products(merged, weight, d, columns, sums);
        }
    }
}
