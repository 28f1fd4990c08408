// Helpers of `heddle.h`. The input is canonical JSON, which the host has checked: no white space, keys sorted, no
// duplicates. What reads it here relies on that, and still never reads past its end.
#include "heddle.h"

#include "plugin.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static heddle_result ended(heddle_end end, const char *json, const char *code, const char *message, uint64_t ms) {
  heddle_result result = {end, {json, json ? strlen(json) : 0}, code, message, ms};
  return result;
}
heddle_result heddle_done(const char *json) { return ended(HEDDLE_DONE, json, NULL, NULL, 0); }
heddle_result heddle_checkpoint(const char *json) { return ended(HEDDLE_CHECKPOINT, json, NULL, NULL, 0); }
heddle_result heddle_permanent(const char *code, const char *message) {
  return ended(HEDDLE_PERMANENT, NULL, code, message, 0);
}
heddle_result heddle_retryable(const char *code, const char *message) {
  return ended(HEDDLE_RETRYABLE, NULL, code, message, 0);
}
heddle_result heddle_rate_limited(uint64_t ms, const char *code, const char *message) {
  return ended(HEDDLE_RATE_LIMITED, NULL, code, message, ms);
}

void heddle_log(heddle_level level, const char *message) {
  plugin_string_t line;
  plugin_string_set(&line, message);
  heddle_host_log_write((heddle_host_log_level_t)level, &line);
}
uint64_t heddle_now_ms(void) { return heddle_host_clock_now_ms(); }
uint64_t heddle_random(void) { return heddle_host_random_next_u64(); }

// Behind the value at `at`.
static const char *behind(const char *at, const char *end) {
  int depth = 0;
  int in_text = 0;
  for (; at < end; at++) {
    if (in_text) {
      if (*at == '\\') at++;
      else if (*at == '"') in_text = 0;
    } else if (*at == '"') {
      in_text = 1;
    } else if (*at == '{' || *at == '[') {
      depth++;
    } else if (*at == '}' || *at == ']') {
      if (depth == 0) return at;
      depth--;
    } else if (depth == 0 && (*at == ',' || *at == ':')) {
      return at;
    }
  }
  return end;
}

static int hex4(const char *at, const char *end) {
  int code = 0;
  if (end - at < 4) return -1;
  for (int i = 0; i < 4; i++) {
    char c = at[i];
    int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return -1;
    code = code * 16 + digit;
  }
  return code;
}

static size_t utf8(uint32_t code, char *out) {
  if (code < 0x80) return out[0] = (char)code, 1;
  if (code < 0x800) return out[0] = (char)(0xC0 | code >> 6), out[1] = (char)(0x80 | (code & 0x3F)), 2;
  if (code < 0x10000) {
    out[0] = (char)(0xE0 | code >> 12), out[1] = (char)(0x80 | (code >> 6 & 0x3F));
    return out[2] = (char)(0x80 | (code & 0x3F)), 3;
  }
  out[0] = (char)(0xF0 | code >> 18), out[1] = (char)(0x80 | (code >> 12 & 0x3F));
  return out[2] = (char)(0x80 | (code >> 6 & 0x3F)), out[3] = (char)(0x80 | (code & 0x3F)), 4;
}

// The text between two quotes, unescaped. It never grows.
static char *unescaped(const char *at, const char *end) {
  char *out = malloc((size_t)(end - at) + 4);
  size_t len = 0;
  if (!out) abort();
  while (at < end) {
    if (*at != '\\' || at + 1 >= end) {
      out[len++] = *at++;
      continue;
    }
    char kind = at[1];
    at += 2;
    switch (kind) {
    case 'n': out[len++] = '\n'; break;
    case 't': out[len++] = '\t'; break;
    case 'r': out[len++] = '\r'; break;
    case 'b': out[len++] = '\b'; break;
    case 'f': out[len++] = '\f'; break;
    case 'u': {
      int first = hex4(at, end);
      if (first < 0) break;
      at += 4;
      uint32_t code = (uint32_t)first;
      if (first >= 0xD800 && first < 0xDC00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
        int second = hex4(at + 2, end);
        if (second >= 0xDC00 && second < 0xE000) {
          code = 0x10000 + (((uint32_t)first - 0xD800) << 10) + ((uint32_t)second - 0xDC00);
          at += 6;
        }
      }
      if (code == 0) {
        // A text of C ends there, and would be another one.
        free(out);
        return NULL;
      }
      len += utf8(code, out + len);
      break;
    }
    default: out[len++] = kind;
    }
  }
  out[len] = 0;
  return out;
}

char *heddle_member(heddle_text object, const char *name) {
  const char *at = object.ptr;
  const char *end = at + object.len;
  if (object.len < 2 || *at != '{') return NULL;
  at++;
  while (at < end && *at == '"') {
    const char *key_end = behind(at, end);
    if (key_end >= end || key_end - at < 2) return NULL;
    char *key = unescaped(at + 1, key_end - 1);
    int is_it = key && strcmp(key, name) == 0;
    free(key);
    const char *value = key_end + 1;
    const char *value_end = behind(value, end);
    if (is_it) return value_end - value >= 2 && *value == '"' ? unescaped(value + 1, value_end - 1) : NULL;
    at = value_end + 1;
  }
  return NULL;
}

char *heddle_quoted(const char *text) {
  char *out = malloc(strlen(text) * 6 + 3);
  size_t len = 0;
  if (!out) abort();
  out[len++] = '"';
  for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
    if (*at == '"' || *at == '\\') {
      out[len++] = '\\', out[len++] = (char)*at;
    } else if (*at < 0x20) {
      len += (size_t)snprintf(out + len, 7, "\\u%04x", *at);
    } else {
      out[len++] = (char)*at;
    }
  }
  out[len++] = '"', out[len] = 0;
  return out;
}
