/* gasworks dev: builds a function's folder, deploys what that makes, follows its log, and begins again whenever a file changes.
 *
 * Everything happens on one loop of libuv. One job runs at a time: the build, then the deployment, each a process. Builds write
 * into the folder, too, and must not cause the next one; what a user changes meanwhile must. So a file is an output, and its
 * changes mean nothing, when it changed during the first build, or during two builds in a row.
 */
#define _GNU_SOURCE /* environ */
#include "base/heap.h"
#include "cli/cli.h"

#include "base/digest.h"
#include "base/error.h"
#include "cli/client.h"
#include "cli/project.h"
#include "server/function/function.h"

#include <dirent.h>
#include <errno.h>
#include <search.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

enum { SETTLE_MS = 100, MAX_DEPTH = 16, MAX_ARGUMENTS = 12 };

struct watch {
  uv_fs_event_t event;
  struct watch *next;
  char *path;
};

/* One of the folder's. */
struct file {
  struct file *next;
  char *path;
  struct timespec time;
  off_t size;
  bool is_there, is_suspect, is_output; /* seen by this scan; changed while the last build ran; builds make it */
};

enum scan { SCAN_BEFORE, SCAN_AFTER_FIRST, SCAN_AFTER, SCAN_EVENT };
enum job { JOB_NONE, JOB_BUILD, JOB_DEPLOY };

struct dev {
  uv_loop_t loop;
  struct client client;
  char *directory;
  const char *alias;
  bool is_once, is_json, has_no_logs;

  struct project project;
  struct arena arena; /* of the project's strings */
  struct watch *watches;
  void *watched; /* the same, of tsearch */
  uv_timer_t settle;
  uv_signal_t interrupt, terminate;
  enum job job;
  uv_process_t process, logs;
  bool has_logs, is_renamed, is_ending, has_built;
  struct file *files;
  void *by_path;          /* the same, of tsearch */
  struct digest deployed; /* the module */
  char deployed_name[FUNCTION_MAX_NAME + 1], logs_name[FUNCTION_MAX_NAME + 1];
  int exit_code;
  char **environment; /* of processes that talk to the server */
};

static void look(struct dev *dev, enum scan when);
static void deploy(struct dev *dev);
static void on_settled(uv_timer_t *timer);

/* --- the folder -------------------------------------------------------------------------------------------------- */

static bool is_skipped(const struct dev *dev, const char *directory, const char *name) {
  if (*name == '.' || strcmp(name, "node_modules") == 0 || strcmp(name, "target") == 0) return true;
  return strcmp(directory, dev->directory) == 0 && dev->project.module && strcmp(name, dev->project.module) == 0;
}

/* An editor writes more than once. */
static void on_event(uv_fs_event_t *event, const char *name, int events, int status) {
  struct dev *dev = event->data;
  (void)name, (void)events, (void)status;
  if (!dev->is_ending) uv_timer_start(&dev->settle, on_settled, SETTLE_MS, 0);
}

static int compare_watches(const void *a, const void *b) {
  return strcmp(((const struct watch *)a)->path, ((const struct watch *)b)->path);
}

/* Watches a folder unless that is done already: the system tells of one folder at a time. */
static void watch(struct dev *dev, char *path) {
  struct watch wanted = {.path = path};
  if (tfind(&wanted, &dev->watched, compare_watches)) return;
  struct watch *w = heap_new(1, sizeof *w);
  w->path = strdup(path);
  tsearch(w, &dev->watched, compare_watches);
  uv_fs_event_init(&dev->loop, &w->event);
  w->event.data = dev;
  int failed = uv_fs_event_start(&w->event, on_event, path, 0);
  if (failed) fprintf(stderr, "gasworks: cannot watch %s: %s\n", path, uv_strerror(failed));
  w->next = dev->watches;
  dev->watches = w;
}

static int compare_paths(const void *a, const void *b) {
  return strcmp(((const struct file *)a)->path, ((const struct file *)b)->path);
}

/* One that is new is as if it had been empty. */
static struct file *find_file(struct dev *dev, char *path) {
  struct file wanted = {.path = path}, **found = tfind(&wanted, &dev->by_path, compare_paths);
  if (found) return *found;
  struct file *f = heap_new(1, sizeof *f);
  f->path = strdup(path);
  f->next = dev->files;
  dev->files = f;
  tsearch(f, &dev->by_path, compare_paths);
  return f;
}

static void forget_file(struct dev *dev, struct file *f) {
  tdelete(f, &dev->by_path, compare_paths);
  free(f->path);
  free(f);
}

/* Whether what is new about the file is the user's doing. */
static bool is_news(struct file *f, enum scan scan) {
  if (scan == SCAN_AFTER_FIRST || (scan == SCAN_AFTER && f->is_suspect)) f->is_output = true;
  f->is_suspect = scan == SCAN_AFTER;
  return !f->is_output;
}

static bool scan_folder(struct dev *dev, char *path, enum scan scan, int depth) {
  bool has_news = false;
  DIR *dir = depth < MAX_DEPTH ? opendir(path) : NULL;
  if (!dir) return false;
  if (!dev->is_once) watch(dev, path);
  for (const struct dirent *entry; (entry = readdir(dir));) {
    char inner[4096];
    struct stat s;
    if (is_skipped(dev, path, entry->d_name)) continue;
    if ((size_t)snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name) >= sizeof inner || lstat(inner, &s) != 0) continue;
    if (S_ISDIR(s.st_mode)) {
      has_news |= scan_folder(dev, inner, scan, depth + 1);
      continue;
    }
    struct file *f = find_file(dev, inner);
    bool is_same = f->size == s.st_size && f->time.tv_sec == s.st_mtim.tv_sec && f->time.tv_nsec == s.st_mtim.tv_nsec;
    if (!is_same) has_news |= is_news(f, scan);
    f->size = s.st_size, f->time = s.st_mtim, f->is_there = true;
  }
  closedir(dir);
  return has_news;
}

/* Takes the folder as it is now; true: the user has changed it since the last time. */
static bool scan(struct dev *dev, enum scan scan) {
  for (struct file *f = dev->files; f; f = f->next) f->is_there = false;
  bool has_news = scan_folder(dev, dev->directory, scan, 0);
  for (struct file **at = &dev->files; *at;) {
    struct file *f = *at;
    if (f->is_there) {
      at = &f->next;
      continue;
    }
    has_news |= is_news(f, scan);
    *at = f->next;
    forget_file(dev, f);
  }
  return has_news;
}

/* --- processes --------------------------------------------------------------------------------------------------- */

static bool spawn(struct dev *dev, uv_process_t *process, uv_exit_cb on_exit, const char *const *arguments, const char *directory,
                  bool is_build) {
  uv_stdio_container_t stdio[] = {
      {.flags = UV_IGNORE}, {.flags = UV_INHERIT_FD, .data.fd = is_build ? 2 : 1}, {.flags = UV_INHERIT_FD, .data.fd = 2}};
  uv_process_options_t options = {.exit_cb = on_exit,
                                  .file = is_build ? "/bin/sh" : "/proc/self/exe",
                                  .args = (char **)arguments,
                                  .env = is_build ? NULL : dev->environment,
                                  .cwd = directory,
                                  .stdio_count = 3,
                                  .stdio = stdio};
  process->data = dev;
  int failed = uv_spawn(&dev->loop, process, &options);
  if (failed) fprintf(stderr, "gasworks: cannot start %s: %s\n", arguments[0], uv_strerror(failed));
  return failed == 0;
}

static void follow_logs(struct dev *dev);

static void on_logs_closed(uv_handle_t *handle) {
  struct dev *dev = handle->data;
  dev->has_logs = false;
  if (!dev->is_ending && dev->is_renamed) follow_logs(dev);
}

static void on_logs_exit(uv_process_t *process, int64_t code, int signal) {
  (void)code, (void)signal;
  uv_close((uv_handle_t *)process, on_logs_closed);
}

/* Of the function that is deployed; where that has another name by now, the old one's ends first. */
static void follow_logs(struct dev *dev) {
  const char *arguments[] = {"gasworks", "logs", "--follow", "--new", dev->deployed_name, dev->is_json ? "--json" : NULL, NULL};
  if (dev->is_once || dev->has_no_logs) return;
  dev->is_renamed = dev->has_logs && strcmp(dev->logs_name, dev->deployed_name) != 0;
  if (dev->is_renamed) uv_process_kill(&dev->logs, SIGTERM);
  if (dev->has_logs) return;
  snprintf(dev->logs_name, sizeof dev->logs_name, "%s", dev->deployed_name);
  dev->has_logs = spawn(dev, &dev->logs, on_logs_exit, arguments, NULL, false);
}

/* --- jobs -------------------------------------------------------------------------------------------------------- */

static void close_handle(void *handle) {
  if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

/* The loop ends when the last process has. */
static void end(struct dev *dev, int exit_code) {
  if (dev->is_ending) return;
  dev->is_ending = true;
  dev->exit_code = exit_code;
  if (dev->job != JOB_NONE) uv_process_kill(&dev->process, SIGTERM);
  if (dev->has_logs) uv_process_kill(&dev->logs, SIGTERM);
  for (struct watch *w = dev->watches; w; w = w->next) close_handle(&w->event);
  close_handle(&dev->settle);
  close_handle(&dev->interrupt);
  close_handle(&dev->terminate);
}

static void idle(struct dev *dev) {
  enum scan when = dev->has_built ? SCAN_AFTER : SCAN_AFTER_FIRST;
  dev->has_built = true;
  if (dev->is_once)
    end(dev, dev->exit_code);
  else
    look(dev, when);
}

static void on_job_closed(uv_handle_t *handle) {
  struct dev *dev = handle->data;
  enum job job = dev->job;
  dev->job = JOB_NONE;
  if (dev->is_ending) return;
  if (job == JOB_BUILD && dev->exit_code == 0) {
    deploy(dev);
    return;
  }
  if (job == JOB_BUILD) fprintf(stderr, "gasworks: the build ended with %d\n", dev->exit_code);
  if (job == JOB_DEPLOY && dev->exit_code == 0) follow_logs(dev);
  if (job == JOB_DEPLOY && dev->exit_code != 0) dev->deployed = (struct digest){0};
  idle(dev);
}

static void on_job_exit(uv_process_t *process, int64_t code, int signal) {
  struct dev *dev = process->data;
  if (!dev->is_ending) dev->exit_code = signal ? 128 + signal : (int)code;
  uv_close((uv_handle_t *)process, on_job_closed);
}

static void start(struct dev *dev, enum job job, const char *const *arguments, const char *directory) {
  dev->job = job;
  if (spawn(dev, &dev->process, on_job_exit, arguments, directory, job == JOB_BUILD)) return;
  dev->exit_code = 1;
  uv_close((uv_handle_t *)&dev->process, on_job_closed);
}

/* A build may make the same module again. */
static bool is_deployed(struct dev *dev, const char *path) {
  struct buffer bytes = {0};
  struct gw_error err = {0};
  bool ok = cli_read_file(&bytes, path, &err); /* the deployment says why not */
  struct digest digest = ok ? digest_of(bytes.bytes, bytes.size) : (struct digest){0};
  bool is_same = ok && digest_is(&digest, &dev->deployed) && strcmp(dev->deployed_name, dev->project.name) == 0;
  buffer_clear(&bytes);
  dev->deployed = digest;
  snprintf(dev->deployed_name, sizeof dev->deployed_name, "%s", dev->project.name);
  return is_same;
}

static void deploy(struct dev *dev) {
  const char *module = arena_format(&dev->arena, "%s/%s", dev->directory, dev->project.module);
  const char *arguments[MAX_ARGUMENTS] = {"gasworks", "deploy", dev->project.name, module};
  size_t n = 4;
  if (is_deployed(dev, module)) {
    idle(dev);
    return;
  }
  if (dev->alias) arguments[n++] = "--alias", arguments[n++] = dev->alias;
  if (dev->is_json) arguments[n++] = "--json";
  start(dev, JOB_DEPLOY, arguments, NULL);
}

/* function.yaml may have changed, too. */
static void begin(struct dev *dev) {
  struct gw_error err = {0};
  arena_clear(&dev->arena);
  dev->project = (struct project){0};
  bool ok = project_read(&dev->project, dev->directory, &dev->arena, &err);
  scan(dev, SCAN_BEFORE);
  if (ok) {
    const char *arguments[] = {"sh", "-c", dev->project.build, NULL};
    start(dev, JOB_BUILD, arguments, dev->directory);
    return;
  }
  dev->project = (struct project){0};
  int exit_code = cli_fail(&err);
  if (dev->is_once) end(dev, exit_code);
}

static void look(struct dev *dev, enum scan when) {
  if (scan(dev, when)) begin(dev);
}

static void on_settled(uv_timer_t *timer) {
  struct dev *dev = timer->data;
  if (dev->job == JOB_NONE) look(dev, SCAN_EVENT); /* else when that has ended */
}

static void on_signal(uv_signal_t *signal, int number) {
  (void)number;
  end(signal->data, 0);
}

/* --- the verb ---------------------------------------------------------------------------------------------------- */

/* Ours come first, where getenv looks. A token is in nobody's arguments, which all users may see. */
static char **make_environment(const struct client *client, struct arena *arena) {
  size_t n = 0, own = 0;
  while (environ[n]) n++;
  char **out = heap_new(n + 4, sizeof *out);
  out[own++] = arena_format(arena, "GASWORKS_SERVER=%s", client->server);
  if (client->token) out[own++] = arena_format(arena, "GASWORKS_TOKEN=%s", client->token);
  if (client->tenant) out[own++] = arena_format(arena, "GASWORKS_TENANT=%s", client->tenant);
  memcpy(out + own, environ, (n + 1) * sizeof *out);
  return out;
}

static int run(struct dev *dev) {
  struct arena arena = {0};
  uv_loop_init(&dev->loop);
  dev->environment = make_environment(&dev->client, &arena);
  uv_timer_init(&dev->loop, &dev->settle);
  uv_signal_init(&dev->loop, &dev->interrupt);
  uv_signal_init(&dev->loop, &dev->terminate);
  dev->settle.data = dev->interrupt.data = dev->terminate.data = dev;
  uv_signal_start(&dev->interrupt, on_signal, SIGINT);
  uv_signal_start(&dev->terminate, on_signal, SIGTERM);
  begin(dev);
  uv_run(&dev->loop, UV_RUN_DEFAULT);
  uv_loop_close(&dev->loop);
  for (struct watch *w = dev->watches, *next; w; w = next) {
    next = w->next;
    tdelete(w, &dev->watched, compare_watches);
    free(w->path);
    free(w);
  }
  for (struct file *f = dev->files, *next; f; f = next) {
    next = f->next;
    forget_file(dev, f);
  }
  free(dev->environment);
  arena_clear(&dev->arena);
  arena_clear(&arena);
  return dev->exit_code;
}

int cli_dev(int argc, char **argv) {
  char here[] = ".";
  struct dev dev = {.client = client_default(), .directory = here};
  const struct cli_option options[] = {
      CLIENT_OPTIONS(&dev.client),
      {"alias", 0, CLI_TEXT, &dev.alias, "ALIAS", "deploy to NAME@ALIAS; callers of NAME stay where they are"},
      {"once", 0, CLI_FLAG, &dev.is_once, NULL, "build and deploy once, and end"},
      {"no-logs", 0, CLI_FLAG, &dev.has_no_logs, NULL, "do not show what the function logs"},
      {"json", 0, CLI_FLAG, &dev.is_json, NULL, "deployments and lines of the log as JSON"},
  };
  const struct cli_command command = {
      .name = "dev",
      .arguments = "[DIR]",
      .description =
          "Builds the function in the folder DIR (the present one unless told) as its function.yaml says, deploys it, shows its\n"
          "log, and builds and deploys again when a file changes. Ends with Ctrl-C.",
      .options = options,
      .n_options = sizeof options / sizeof *options,
      .max_operands = 1,
  };
  int exit_code;
  struct gw_error err = {0};
  if (!cli_parse(&command, &argc, &argv, &exit_code)) return exit_code;
  if (argc) dev.directory = argv[0];
  size_t size = strlen(dev.directory);
  while (size > 1 && dev.directory[size - 1] == '/') dev.directory[--size] = 0;
  struct arena arena = {0};
  bool ok = project_read(&dev.project, dev.directory, &arena, &err);
  arena_clear(&arena);
  return ok ? run(&dev) : cli_fail(&err);
}
