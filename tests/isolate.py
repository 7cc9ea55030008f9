#!/usr/bin/env python3
"""`gasworks serve --isolate tenant`: each tenant's process dies alone, knows nothing of the others, and ends with its front.
  isolate.py GASWORKS
"""
import atexit, http.client, json, os, re, shutil, signal, socket, subprocess, sys, tempfile, threading, time

from http_server import ENV, HELLO, LOOP, SHOW, STATUS, Reader

COUNTER = r'''(module (import "gasworks" "reply" (func $reply (param i32 i32)))
  (import "gasworks" "state_get" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "gasworks" "state_set" (func $set (param i32 i32 i32 i32))) (memory (export "memory") 1) (data (i32.const 0) "n0")
  (func (export "handle")
    (if (i32.ne (call $get (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 1)) (i32.const 1))
      (then (i32.store8 (i32.const 1) (i32.const 48))))
    (i32.store8 (i32.const 1) (i32.add (i32.load8_u (i32.const 1)) (i32.const 1)))
    (call $set (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 1)) (call $reply (i32.const 1) (i32.const 1))))'''

ECHO = r'''(module (import "gasworks" "request_body" (func $body (param i32 i32 i32) (result i32)))
  (import "gasworks" "reply" (func $reply (param i32 i32))) (memory (export "memory") 40)
  (func (export "handle") (call $reply (i32.const 0) (call $body (i32.const 0) (i32.const 0) (i32.const 2600000)))))'''

failed = 0


def check(what, ok, *more):
    global failed
    print(("ok   " if ok else "FAIL ") + what, *([] if ok else more))
    failed += not ok


class Front:
    """A server with a process for each tenant, in the directory `work`."""

    def __init__(self, program, work, *options):
        self.work, self.log = work, open(work + "/log", "ab+")
        start = self.log.seek(0, 2)
        command = [program, "serve", "--isolate", "tenant", "--listen", "127.0.0.1:0", "--data", work + "/data", "--sync", "off",
                   "--workers", "2", "--tier", "fast", "--drain", "0", "--grace", "1000", "--gas-limit", "1000T", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self.log)
        atexit.register(self.process.kill)
        for _ in range(600):
            found = re.search(r"serving on http://127\.0\.0\.1:(\d+)", self.text()[start:])
            if found or self.process.poll() is not None:
                break
            time.sleep(0.05)
        if not found:
            raise SystemExit("the server does not start: " + self.text())
        self.port = int(found[1])
        with open(work + "/data/admin-token") as file:
            self.token = file.read().strip()

    def text(self):
        with open(self.work + "/log", errors="replace") as file:
            return file.read()

    def ask(self, method, path, body=None, token=True, headers=()):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        fields = dict(headers)
        if token:
            fields["Authorization"] = "Bearer " + (self.token if token is True else token)
        connection.request(method, path, body, fields)
        reply = connection.getresponse()
        text = reply.read()
        connection.close()
        return reply.status, text

    def gas(self, path):
        """What the reply says that it took."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", path)
        reply = connection.getresponse()
        reply.read()
        return int(reply.headers["Gasworks-Gas"])

    def deploy(self, path, text):
        with open(self.work + "/module.wat", "w") as file:
            file.write(text)
        subprocess.run(["wat2wasm", self.work + "/module.wat", "-o", self.work + "/module.wasm"], check=True)
        with open(self.work + "/module.wasm", "rb") as file:
            status, answer = self.ask("PUT", path, file.read())
        if status not in (200, 201):
            raise SystemExit(f"PUT {path}: {status} {answer}")

    def worker(self, tenant):
        """Its process, waited for."""
        for _ in range(200):
            pid = workers(self.process.pid).get(tenant)
            if pid:
                return pid
            time.sleep(0.05)
        raise SystemExit(f"tenant {tenant} has no process")

    def metric(self, name):
        text = self.ask("GET", "/metrics")[1].decode()
        return sum(float(value) for value in re.findall("^" + re.escape(name) + r" (\S+)$", text, re.M))


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().decode().split("\0")
    except OSError:
        return []


def workers(parent):
    """Tenant -> process of those that `parent` has started."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                _, _, rest = file.read().rpartition(")")
        except OSError:
            continue
        words = command_line(pid)
        if rest.split()[1] == str(parent) and rest.split()[0] != "Z" and "--worker-of" in words:
            found[words[words.index("--worker-of") + 1]] = int(pid)
    return found


def count(front):
    """What the counter of tenant a answers: a character, from 1 on; None when it does not."""
    status, body = front.ask("GET", "/t/a/f/counter", token=False)
    return body[0] - ord("0") if status == 200 else None


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_requests(front):
    front.deploy("/t/a/v1/functions/env", ENV)
    front.deploy("/t/a/v1/functions/own?access=private", SHOW)
    front.deploy("/v1/functions/echo", ECHO)
    env = front.ask("GET", "/t/a/f/env/x%20y?q", headers={"X-One": "1"}, token=False)[1].decode().split("\0")
    for line in ("SCRIPT_NAME=/t/a/f/env", "PATH_INFO=/x y", "QUERY_STRING=q", "REMOTE_ADDR=127.0.0.1", f"SERVER_PORT={front.port}",
                 "HTTP_X_ONE=1"):
        check("a function sees " + line, line in env, env)
    check("and nothing of the way between the processes", not any("GASWORKS" in line or "CONNECTION=" in line for line in env), env)
    check("a private function is none", front.ask("GET", "/t/a/f/own", token=False)[0] == 404)
    for name in ("Gasworks-Identity", "gasworks-identity"):
        check(name + " of a client makes nobody somebody", front.ask("GET", "/t/a/f/own", token=False, headers={name: "15 80 ::1"})[0] == 404)
    status, seen = front.ask("GET", "/t/a/f/own", headers={"Gasworks-Identity": "1"})
    check("who may, may", status == 200)
    check("and the function sees no token", b"gw_" not in seen and b"asworks" not in seen, seen)
    large = os.urandom(1250000).hex().encode()
    check("large bodies come through", front.ask("POST", "/f/echo", large, token=False) == (200, large))
    front.deploy("/v1/functions/status", STATUS)
    check("and statuses", front.ask("GET", "/f/status?418", token=False)[0] == 418)


def test_one_connection(front):
    """Requests for several tenants, all sent at once."""
    connection = socket.create_connection(("127.0.0.1", front.port), 30)
    paths = ["/f/hello", "/t/a/f/counter", "/t/b/f/hello", "/t/none/f/hello", "/t/a/f/counter", "/healthz", "/f/hello"]
    connection.sendall(b"".join(b"GET %s HTTP/1.1\r\nHost: t\r\n\r\n" % path.encode() for path in paths))
    reader = Reader(connection)
    got = [(reply.status, reply.body) for reply in (reader.reply() for _ in paths)]
    first = got[1][1][0]
    check("pipelined requests of several tenants are answered in their order", [status for status, _ in got] == [200, 200, 200, 404, 200, 200, 200]
          and got[4][1][0] == first + 1 and got[0][1] == got[2][1] == got[6][1] == b"hello\n", got)
    connection.close()


def test_no_tenant(front):
    """One that is not there is as one without the function."""
    there, absent = (front.ask("GET", f"/t/{tenant}/f/nothing", token=False) for tenant in ("a", "z"))
    check("a tenant that is not there is as one without the function", there[0] == 404 and there[1].replace(b"a/nothing", b"z/nothing") == absent[1], there, absent)


def test_apart(front):
    """Nothing of one tenant's data is open or mapped in another's process, or in the front."""
    pids = {**{tenant: front.worker(tenant) for tenant in ("default", "a", "b")}, "front": front.process.pid}
    check("three tenants have three processes", len(set(pids.values())) == 4, pids)
    for tenant, pid in pids.items():
        with open(f"/proc/{pid}/maps") as file:
            seen = file.read()
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                seen += os.readlink(f"/proc/{pid}/fd/{fd}") + "\n"
            except OSError:
                pass
        others = set(re.findall(r"/data/tenants/(\w+)/", seen)) - {tenant}
        check(f"the process of {tenant} holds no file of others", not others, others)
        check("nor the front's, which has the tokens", tenant == "front" or "/data/state" not in seen)
        check(f"and its own", tenant == "front" or f"/data/tenants/{tenant}/state/" in seen)
    listing = json.loads(front.ask("GET", "/t/b/v1/functions")[1])
    check("a list has one tenant's functions", [f["name"] for f in listing["functions"]] == ["hello", "loop"], listing)


def test_kill(front):
    """One tenant's process is killed again and again, while the others are at work."""
    stop, counts = threading.Event(), {}

    def hammer(path):
        connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=60)
        good = bad = 0
        while not stop.is_set():
            connection.request("GET", path)
            reply = connection.getresponse()
            reply.read()
            good, bad = good + (reply.status == 200), bad + (reply.status != 200)
        counts[path] = good, bad

    threads = [threading.Thread(target=hammer, args=(path,)) for path in ("/f/hello", "/t/b/f/hello")]
    for thread in threads:
        thread.start()
    before = count(front)
    others = front.worker("default"), front.worker("b")
    for i in range(3):
        pid = front.worker("a")
        at, answers = cpu_of(pid), []
        running = threading.Thread(target=lambda: answers.append(front.ask("GET", "/t/a/f/loop", token=False)))
        running.start()
        wait_until(lambda: cpu_of(pid) > at + 20 or answers)
        os.kill(pid, signal.SIGKILL)
        running.join()
        check("who ran there hears it", answers[0][0] == 503 and b"ended while it answered" in answers[0][1], answers)
        value = []
        check("its tenant is served again", wait_until(lambda: value.append(count(front)) or value[-1]), value)
        check("with its state", value[-1] == before + i + 1, value[-1], before)
    stop.set()
    for thread in threads:
        thread.join()
    for path, (good, bad) in counts.items():
        check(f"no request to {path} failed", good > 0 and bad == 0, good, bad)
    check("their processes lived on", others == (front.worker("default"), front.worker("b")))
    check("the log says so", front.text().count("the worker of tenant a ended with signal 9; it is started again") == 3, front.text())


def cpu_of(pid):
    """In hundredths of a second."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            words = file.read().rpartition(")")[2].split()
        return int(words[11]) + int(words[12])
    except OSError:
        return 0


def test_gone_client(front):
    """Who leaves ends what runs for him, in the other process."""
    before = front.metric('gasworks_traps_total{trap="cancelled"}')
    connection = socket.create_connection(("127.0.0.1", front.port), 30)
    connection.sendall(b"GET /t/b/f/loop HTTP/1.1\r\nHost: t\r\n\r\n")
    pid, at = front.worker("b"), cpu_of(front.worker("b"))
    wait_until(lambda: cpu_of(pid) > at + 20)
    connection.close()
    check("a client that leaves cancels its invocation", wait_until(lambda: front.metric('gasworks_traps_total{trap="cancelled"}') == before + 1))


def test_metrics(front):
    before = front.metric('gasworks_invocations_total{tier="fast"}')
    for path in ("/f/hello", "/t/a/f/counter", "/t/b/f/hello"):
        for _ in range(3):
            front.ask("GET", path, token=False)
    check("metrics are those of all processes", front.metric('gasworks_invocations_total{tier="fast"}') == before + 9)
    check("of each function, too", front.metric('gasworks_function_requests_total{tenant="b",function="hello"}') >= 3 and
          front.metric('gasworks_function_duration_seconds_count{tenant="b",function="hello"}') >= 3)
    check("functions, too", front.metric('gasworks_functions{tier="fast"}') >= 7)
    replies = front.metric('gasworks_replies_total{status="2xx"}')
    front.ask("GET", "/f/hello", token=False)
    check("a reply is counted once", front.metric('gasworks_replies_total{status="2xx"}') == replies + 2)


def test_tenants(front):
    check("a tenant with functions stays", front.ask("DELETE", "/v1/tenants/a")[0] == 409)
    front.ask("PUT", "/v1/tenants/brief")
    front.deploy("/t/brief/v1/functions/counter", COUNTER)
    check("a new one is served", front.ask("GET", "/t/brief/f/counter", token=False) == (200, b"1"))
    pid = front.worker("brief")
    check("its function goes", front.ask("DELETE", "/t/brief/v1/functions/counter")[0] == 204)
    check("what it left stays", front.ask("DELETE", "/v1/tenants/brief")[0] == 409)
    check("and goes", front.ask("DELETE", "/t/brief/v1/functions/counter?state=delete")[0] == 204)
    check("then the tenant, too", front.ask("DELETE", "/v1/tenants/brief")[0] == 204)
    check("with its process", not is_alive(pid))
    check("and its files", not os.path.exists(front.work + "/data/tenants/brief"))
    check("it is not there any more", front.ask("DELETE", "/v1/tenants/brief")[0] == 404)


def test_tenant_again(front):
    """A tenant is made again while the process of its forerunner still ends, which an invocation holds up."""
    answers = {}

    def ask(name, *question):
        answers[name] = front.ask(*question)

    front.ask("PUT", "/v1/tenants/again")
    front.deploy("/t/again/v1/functions/loop", LOOP)
    pid = front.worker("again")
    at = cpu_of(pid)
    running = threading.Thread(target=ask, args=("loop", "GET", "/t/again/f/loop"))
    running.start()
    wait_until(lambda: cpu_of(pid) > at + 20)
    front.ask("DELETE", "/t/again/v1/functions/loop")
    threads = [threading.Thread(target=ask, args=("delete", "DELETE", "/v1/tenants/again"))]
    threads[0].start()
    check("a tenant is gone before its process is", wait_until(lambda: b"again" not in front.ask("GET", "/v1/tenants")[1]))
    for name, *question in (("put", "PUT", "/v1/tenants/again"), ("other put", "PUT", "/v1/tenants/again")):
        threads.append(threading.Thread(target=ask, args=(name, *question)))
        threads[-1].start()
    for thread in threads + [running]:
        thread.join()
    check("it can be made again meanwhile", answers["delete"][0] == 204 and {answers["put"][0], answers["other put"][0]} == {200, 201}, answers)
    check("by a new process", front.worker("again") != pid)
    front.deploy("/t/again/v1/functions/counter", COUNTER)
    check("which serves it", front.ask("GET", "/t/again/f/counter", token=False) == (200, b"1"))
    front.ask("DELETE", "/t/again/v1/functions/counter?state=delete")
    check("and goes in its turn", front.ask("DELETE", "/v1/tenants/again")[0] == 204)


def test_heads(front):
    """What the front adds to a head is not the client's."""
    for path in ("/f/hello", "/t/b/f/hello"):
        largest = {f"X-{i}": "1" for i in range(97)} | {"X-Long": "x" * 63000}  # and Host, Accept-Encoding
        check("the largest head comes through", front.ask("GET", path, headers=largest, token=False)[0] == 200)
        check("one more header does not", front.ask("GET", path, headers={**largest, "X-97": "1"}, token=False)[0] == 431)


def test_stalled_log(program, work):
    """Nobody reads the log while a process dies: the others are served."""
    os.mkdir(work)
    read, write = os.pipe()
    front = Front(program, work)
    front.ask("PUT", "/v1/tenants/a")
    front.deploy("/v1/functions/hello", HELLO)
    front.process.send_signal(signal.SIGINT)
    front.process.wait()
    command = [program, "serve", "--isolate", "tenant", "--listen", f"127.0.0.1:{front.port}", "--data", work + "/data", "--sync", "off", "--drain", "0"]
    front.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=write)
    atexit.register(front.process.kill)
    os.read(read, 4096)  # it serves
    os.set_blocking(write, False)
    try:
        while True:
            os.write(write, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(write, True)
    for _ in range(3):
        pid = front.worker("a")
        os.kill(pid, signal.SIGKILL)
        check("a process is started again, whoever reads the log", wait_until(lambda: front.worker("a") != pid))
        connection = [front.ask("GET", path, token=False)[0] for path in ("/f/hello", "/healthz")]
        check("and others are served", connection == [200, 200], connection)
    os.kill(front.worker("a"), signal.SIGSTOP)
    front.process.send_signal(signal.SIGTERM)
    os.close(read)
    try:
        check("a process that hangs does not hold up the end", front.process.wait(60) == 0)
    except subprocess.TimeoutExpired:
        check("a process that hangs does not hold up the end", False)


def test_files(program, work):
    """What options name lies where a worker may read nothing: it has what the files said."""
    os.makedirs(work + "/conf")
    schedule = subprocess.run([program, "schedule", "--text"], check=True, capture_output=True, text=True).stdout
    with open(work + "/conf/schedule", "w") as file:
        file.write(re.sub(r"^const 0", "const 7", schedule, flags=re.M))
    with open(work + "/conf/prices", "w") as file:
        file.write('{"currency": "EUR", "gas": "0.5"}')
    subprocess.run([program, "key", work + "/conf/key"], check=True, stdout=subprocess.DEVNULL)
    gas = {}
    for name, options in (("plain", []), ("all", ["--schedule", work + "/conf/schedule", "--prices", work + "/conf/prices", "--trust", work + "/conf/key.pub"])):
        os.mkdir(work + "/" + name)
        front = Front(program, work + "/" + name, *options)
        front.deploy("/v1/functions/hello", HELLO)
        gas[name] = front.gas("/f/hello")
        credit = front.ask("PATCH", "/v1/budget", b'{"credit": "1"}')[0]
        check(f"with {name} options a balance is {'taken' if options else 'refused'}", credit == (200 if options else 400), credit)
        front.process.send_signal(signal.SIGINT)
        front.process.wait(60)
    check("the schedule of a file counts in workers", gas["all"] > gas["plain"], gas)


def test_modes(program, work):
    """What was deployed into one process does not move, nor back."""
    for data, isolate, why in ((work + "/data", "none", "have a process for each tenant"), (work + "/one", "tenant", "share one process")):
        if isolate == "tenant":
            plain = subprocess.Popen([program, "serve", "--listen", "127.0.0.1:0", "--data", data], stderr=subprocess.PIPE, text=True)
            port = re.search(r":(\d+)$", plain.stderr.readline().strip())[1]
            subprocess.run([program, "deploy", "-s", f"http://127.0.0.1:{port}", "--token", f"@{data}/admin-token", "m", work + "/module.wasm"], check=True,
                           stdout=subprocess.DEVNULL)
            plain.send_signal(signal.SIGINT)
            plain.communicate()
        end = subprocess.run([program, "serve", "--listen", "127.0.0.1:0", "--data", data, "--isolate", isolate], capture_output=True, text=True, timeout=60)
        check(f"--isolate {isolate} on the other kind of data is refused", end.returncode == 2 and why in end.stderr, end)
    end = subprocess.run([program, "serve", "--data", work + "/none", "--worker-of", "a"], capture_output=True, text=True, timeout=60)
    check("a worker without a front is refused", end.returncode == 2 and "there is no front" in end.stderr, end)


def main():
    program, work = sys.argv[1], tempfile.mkdtemp(prefix="gasworks-isolate-")
    front = Front(program, work)
    for tenant in ("a", "b"):
        front.ask("PUT", f"/v1/tenants/{tenant}")
    for path, text in (("/v1/functions/hello", HELLO), ("/t/b/v1/functions/hello", HELLO), ("/t/b/v1/functions/loop", LOOP),
                       ("/t/a/v1/functions/loop", LOOP), ("/t/a/v1/functions/counter", COUNTER)):
        front.deploy(path, text)
    test_requests(front)
    test_one_connection(front)
    test_no_tenant(front)
    test_apart(front)
    test_metrics(front)
    test_gone_client(front)
    test_kill(front)
    test_tenants(front)
    test_tenant_again(front)
    test_heads(front)
    last = count(front)
    pids = list(workers(front.process.pid).values())
    front.process.send_signal(signal.SIGTERM)
    check("the front ends in good order", front.process.wait(60) == 0)
    check("with its workers", len(pids) == 3 and not any(map(is_alive, pids)))
    front = Front(program, work)
    check("all is there after a restart", count(front) == last + 1)
    pids = list(workers(front.process.pid).values())
    front.process.kill()
    front.process.wait()
    check("workers end with a front that is killed", len(pids) == 3 and wait_until(lambda: not any(map(is_alive, pids))))
    os.makedirs(work + "/data/tenants/gone/cache")
    front = Front(program, work)
    check("and nothing is lost", count(front) == last + 2)
    check("but what a tenant left that was being deleted then", not os.path.exists(work + "/data/tenants/gone"))
    front.process.send_signal(signal.SIGINT)
    check("Ctrl-C ends it", front.process.wait(60) == 0)
    test_stalled_log(program, work + "/stalled")
    test_modes(program, work)
    test_files(program, work + "/files")
    bad = re.findall("ERROR: .*|.*runtime error.*", front.text())
    check("no sanitizer complains", not bad, front.text()[-4000:])
    shutil.rmtree(work)
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
