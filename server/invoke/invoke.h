/* Running functions for requests: slots, slices, transactions. */
#ifndef SERVER_INVOKE_INVOKE_H
#define SERVER_INVOKE_INVOKE_H

#include "runtime/debug/judge.h"
#include "runtime/state/state.h"
#include "server/function/slot.h"
#include "server/invoke/draft.h"
#include "server/invoke/keep.h"
#include "server/invoke/repeat.h"
#include "server/loop/loop.h"
#include "server/observe/trail.h"
#include "server/usage/account.h"

struct caller;
struct exchange;
struct flame;
struct problem;

enum invocation_state {
  INVOCATION_NONE,
  INVOCATION_LOADING,    /* waits for its module or an instance, in pool.waiting */
  INVOCATION_RUNNING,    /* waits for a slice in its pool's flow, or on the stack */
  INVOCATION_LOOKING,    /* the store looks for the answer of a repeated request */
  INVOCATION_PARKED,     /* a host function of it waits for an answer */
  INVOCATION_REPORTING,  /* it trapped, and a worker thread reads where, or makes the instance that judges it */
  INVOCATION_HASHING,    /* a worker thread makes the digest of a large request or reply */
  INVOCATION_SYNCING,    /* it has ended, and waits until its receipt is on disk */
  INVOCATION_COMMITTING, /* with the state store */
  INVOCATION_DELAYED,    /* will run again after a conflict */
  INVOCATION_THROTTLED,  /* its tenant has used more gas than it may by now */
};

enum ending_kind {
  ENDING_REPEATED,  /* the answer of the same request before is the answer */
  ENDING_REPLIED,   /* the function's reply is the answer, and what it wrote is durable */
  ENDING_FAILED,    /* `err` is: a trap, or why there was no run, no commit, no reply that could be sent */
  ENDING_REFUSED,   /* `problem` is: it never began */
  ENDING_CANCELLED, /* given up wherever it was; `err` is the answer, or NULL where nobody hears one */
};

struct ending {
  enum ending_kind kind;
  const struct gw_error *err;
  const struct problem *problem;
};

/* What of the module runs, in this order. */
enum phase { PHASE_START, PHASE_INITIALIZE, PHASE_ENTRY };

struct invocation {
  struct waiter waiter;   /* first; in a flow, delayed or pool.waiting */
  struct message message; /* from the committer */
  struct message woken;   /* from whoever has what it is parked for */
  struct exchange *exchange;
  enum invocation_state state;
  struct pool *pool;        /* NULL: no function of the name */
  struct pool *home;        /* that counts it in n_running */
  struct function *limited; /* likewise, with a reference; see function_begin */
  struct account *account;  /* its tenant's, that counts it; NULL: none does */
  uint64_t claim;           /* bytes of memory, with that */
  struct caller *caller;    /* in whose flow it waits: of `pool`; NULL likewise */
  struct caller *counted;   /* that counts it: of `home` */
  uint64_t burned;          /* what all its slices were charged in its flow */
  uint64_t metered;         /* gas of this run that was charged */
  uint64_t charged;         /* and of all runs */
  uint32_t draw;            /* below ENTRY_WHOLE: whether the canary has it, however often it begins */
  uint64_t version;         /* that ended, for the log */
  bool is_gone;             /* its function was deleted meanwhile */
  uint64_t number;          /* of the loop's requests, for the log */
  uint64_t began;           /* in nanoseconds */
  struct slot *slot;
  const struct function_limits *limits; /* that the slot was made with, also where the judge's has others after a reload */
  struct state_txn *txn;
  struct state_turns turns; /* that its attempts had to wait for */
  struct repeat repeat;
  struct handler repeated; /* the answer of a repeated request; until the next request */
  uint64_t repeat_ms;      /* when its answer was recorded for repeated requests, since 1970 */
  struct draft draft;
  struct keep keep;
  struct receipt_waiter synced; /* of SYNCING, with what it has ended with */
  struct message synced_message;
  struct ending ending;
  struct gw_error ending_error;
  struct handler left;            /* likewise: its reply, where the slot has been given back already, */
  struct function *left_function; /* whose it was, with a reference; NULL: the slot has the reply */
  uint64_t left_gas;              /* and its gas */
  struct record record;           /* what the first run read of clocks and random numbers */
  struct judge judge;             /* under way: it runs again in the precise tier, because compiled code trapped */
  bool is_counted;                /* in n_running of loop and home, */
  bool is_paused;                 /* but for the loop, where it is in n_paused */
  bool is_cold;                   /* counted as a cold start */
  enum phase phase;
  bool is_cancelled; /* the client has gone */
  bool is_late;      /* its deadline has passed */
  bool wants_reply;  /* when it was cancelled while it was parked */
  bool is_durable;   /* its receipt, behind SYNCING */
  bool is_woken;     /* `woken` was posted. Another thread sets it, not behind gw_store_cancel */
  bool has_outcome;
  bool may_run_ahead; /* see state_txn_run_ahead */
  uint32_t attempt;
  uint64_t gas_before; /* what the start function and _initialize used */
  uint64_t
      cpu_before; /* in nanoseconds: what they used, and attempts that met conflicts; not what the judge's run is limited by */
  uint64_t retry_at;
  enum state_outcome outcome;
  struct gw_error error; /* of the commit, or the trap that is being reported */
  bool has_failed;       /* by its own word: its reply goes, and nothing that it wrote is stored */
  bool is_verdict;       /* the error has both tiers' ends, as they disagree */
  uv_work_t work;        /* while it is */
  struct slot *precise;  /* made for the judge */
  struct flame *flame;   /* asks where its gas goes; NULL: nobody does */
  struct buffer backtrace;
};

/* How an invocation ended, for who words its reply: exchange.word. One of the first three, or none of them, where nobody hears.
 */
struct outcome {
  const struct handler *reply;
  const struct gw_error *err;
  const struct problem *problem;
  const struct slot *slot; /* it ran, and what it has logged is there; NULL: it did not */
  const uint64_t *gas;     /* NULL: none was counted */
  const char *backtrace;   /* NULL: none, or not for this client */
  bool is_hidden;          /* where it trapped is not for this client */
};

/* A request's name in the log: its loop and number. */
enum { INVOCATION_ID_SIZE = TRAIL_ID_SIZE };
const char *invoke_id(const struct invocation *inv, char out[INVOCATION_ID_SIZE]);
/* Answers the exchange by what request.address leads to, with the path request.rest. */
void invoke_begin(struct exchange *x);
/* The same in the precise tier, answered by where the gas went as JSON: nothing that it writes is stored, and its receipt says
 * that it was cancelled. Takes over the flame. */
void invoke_profile(struct exchange *x, struct flame *flame);
/* What struct exchange_service wants: the exchange's invocation, if one is under way, ends as soon as it can. */
void invoke_cancel(struct exchange *x, bool with_reply);
/* Now and then: ends it with 504 when the version's deadline has passed, unless what it wrote is on its way to the disk. */
void invoke_tick(struct exchange *x);
void invoke_forget(struct exchange *x);
/* Notes in the log that the exchange ended with this status. */
void invoke_note(struct exchange *x, uint32_t status, const char *function, const char *text);

#endif
