// Lets one llama_decode serve tokens that use different LoRA adapters.
//
// llama.cpp applies every attached adapter to every token: y = W x + sum_i B_i (A_i x). This function is its
// evaluation callback. It has llama.cpp stop after each A_i x and sets to zero the rows of the tokens that do not
// use adapter i; B_i then adds exactly nothing to them. It is C and not Python because llama.cpp asks once per
// graph node, thousands of times per step, and Python would take its lock each time.
//
// Nothing of ggml's headers is needed: the few functions come in as pointers, and the place of `src[0]` in a tensor
// is found by mixer.py on a tensor whose source is known.

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { OFF = 0, LEARN = 1, MASK = 2 };

struct mixer {
    uint64_t source_offset;  // of ggml_tensor.src[0], in bytes
    const char * (*name)(const void * tensor);
    void * (*data)(const void * tensor);
    int64_t (*elements)(const void * tensor);
    int64_t (*rows)(const void * tensor);

    int32_t mode;
    int32_t capacity;        // of `learned`
    int32_t n_learned;       // LEARN: tensors A that were applied, in graph order
    const void ** learned;

    int32_t n_known;         // MASK: all A of the attached adapters, sorted by address
    const void ** known;
    const int32_t * owner;   // which adapter each belongs to
    int32_t n_tokens;        // rows of a tensor over the whole batch ...
    int32_t n_outputs;       // ... and after the last layer dropped the tokens whose logits nobody wants
    const uint8_t * token_uses;   // (adapter, token): 1 = the token uses the adapter
    const uint8_t * output_uses;  // (adapter, output)
    int32_t n_masked;        // tensors masked since it was last set to 0
    int32_t n_faults;        // tensors that cannot be masked by token; in MASK the step's results are wrong
};

static int32_t find(const struct mixer * m, const void * source) {
    int32_t low = 0, high = m->n_known;
    while (low < high) {
        const int32_t middle = low + (high - low) / 2;
        if ((uintptr_t) m->known[middle] < (uintptr_t) source) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < m->n_known && m->known[low] == source ? m->owner[low] : -1;
}

static bool is_lora_a(const struct mixer * m, const void * source) {
    const char * name = m->name(source);
    const size_t length = strlen(name), end = strlen(".lora_a");
    return length >= end && strcmp(name + length - end, ".lora_a") == 0;
}

static void mask(struct mixer * m, void * tensor, int32_t adapter) {
    const int64_t rows = m->rows(tensor);
    const uint8_t * uses;
    if (rows == m->n_tokens) {
        uses = m->token_uses + (int64_t) adapter * m->n_tokens;
    } else if (rows == m->n_outputs) {
        uses = m->output_uses + (int64_t) adapter * m->n_outputs;
    } else {
        m->n_faults++;
        return;
    }
    const int64_t length = m->elements(tensor) / rows;
    float * values = m->data(tensor);
    for (int64_t row = 0; row < rows; row++) {
        if (!uses[row]) {
            memset(values + row * length, 0, length * sizeof(float));
        }
    }
    m->n_masked++;
}

// ggml_backend_sched_eval_callback. ask: "do you want to see this tensor once it is computed?"
bool mixer_callback(void * tensor, bool ask, void * user_data) {
    struct mixer * m = user_data;
    if (m->mode == OFF) {
        return !ask;
    }
    const void * source;
    memcpy(&source, (const char *) tensor + m->source_offset, sizeof(source));
    if (m->mode == LEARN) {
        if (ask && source && is_lora_a(m, source)) {
            const int64_t rows = m->rows(tensor);
            if (m->n_learned == m->capacity || (rows != m->n_tokens && rows != m->n_outputs)) {
                m->n_faults++;
            } else {
                m->learned[m->n_learned++] = source;
            }
        }
        return !ask;
    }
    const int32_t adapter = source ? find(m, source) : -1;
    if (!ask && adapter >= 0) {
        mask(m, tensor, adapter);
    }
    return !ask || adapter >= 0;  // false to a computed tensor would end the evaluation
}
