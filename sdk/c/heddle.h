// What a plugin in C writes and uses. The rest of the host is in `plugin.h`, which `heddle build` makes of the WIT: its
// functions begin with `heddle_host_`.
#ifndef HEDDLE_H
#define HEDDLE_H

#include <stddef.h>
#include <stdint.h>

// Text that need not end with a zero.
typedef struct {
  const char *ptr;
  size_t len;
} heddle_text;

typedef enum { HEDDLE_DONE, HEDDLE_CHECKPOINT, HEDDLE_PERMANENT, HEDDLE_RETRYABLE, HEDDLE_RATE_LIMITED } heddle_end;

// How a call ended. What it points to is copied when the call returns, and must stand until then.
typedef struct {
  heddle_end end;
  heddle_text json; // the output, or an agent's state
  const char *code;
  const char *message;
  uint64_t retry_after_ms;
} heddle_result;

// The output, as JSON.
heddle_result heddle_done(const char *json);
// The same call will fail again.
heddle_result heddle_permanent(const char *code, const char *message);
// The same call may succeed later.
heddle_result heddle_retryable(const char *code, const char *message);
// The same call may succeed after so many milliseconds.
heddle_result heddle_rate_limited(uint64_t ms, const char *code, const char *message);
// For agents: to be started afresh with this state, as JSON.
heddle_result heddle_checkpoint(const char *json);

typedef enum { HEDDLE_TRACE, HEDDLE_DEBUG, HEDDLE_INFO, HEDDLE_WARN, HEDDLE_ERROR } heddle_level;

// A line for the operator.
void heddle_log(heddle_level level, const char *message);
// Milliseconds since the Unix epoch, by the clock of the kind.
uint64_t heddle_now_ms(void);
// Randomness of the kind.
uint64_t heddle_random(void);

// The text of the member `name` of a JSON object, unescaped, in memory that the caller frees; NULL where it is no text,
// has a zero in it, or is not there. It looks at the members of the outermost object only.
char *heddle_member(heddle_text object, const char *name);
// A text as JSON, with its quotes, in memory that the caller frees.
char *heddle_quoted(const char *text);

// What the author writes: one of these, as the kind is.
heddle_result apply(heddle_text input);                  // transform
heddle_result call(heddle_text input);                   // tool
heddle_result run(heddle_text goal, heddle_text state);  // agent; `state.ptr` is NULL at first

#endif
