#!/usr/bin/env python3
"""Kills a server under load, again and again, and stops it at times: what GET /v1/usage says is what the leaves of the log of receipts
   add up to, to the unit, for each function, version and day; and no balance is overdrawn by more than is allowed.
   usage.py GASWORKS EXAMPLES [--count KILLS] [--seed N]"""
import argparse
import collections
import decimal
import http.client
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import focus  # noqa: E402
import receipts  # noqa: E402
import verify_receipts as verifier  # noqa: E402

# Sums of fields of a leaf (docs/receipts.md), by the words of docs/usage.md.
FIELDS = {"gas_compute": 14, "gas_host": 15, "gas_bytes": 16, "gas_storage": 17, "bytes_out": 22, "cpu_ns": 24}


def load(server, paths, is_over):
    """Calls until the server is gone."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        while not is_over.is_set():
            connection.request("POST", random.choice(paths))
            connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        pass


def start_load(server, paths, n):
    is_over = threading.Event()
    threads = [threading.Thread(target=load, args=(server, paths, is_over), daemon=True) for _ in range(n)]
    for thread in threads:
        thread.start()
    return is_over, threads


def all_leaves(server):
    status, checkpoint, _ = server.ask("GET", "/v1/log/checkpoint")
    assert status == 200
    size = int(checkpoint.split(b"\n")[1])
    for n in range((size + 255) // 256):
        width = min(256, size - n * 256)
        status, data, _ = server.ask("GET", "/v1/log/tile/entries/" + verifier.tile_path(n) + ("" if width == 256 else f".p/{width}"))
        assert status == 200, data
        at = 0
        while at < len(data):
            end = at + 2 + int.from_bytes(data[at:at + 2], "big")
            yield verifier.decode_leaf(data[at + 2:end])
            at = end


def sum_up(leaves):
    rows = collections.defaultdict(collections.Counter)
    for leaf in leaves:
        if leaf[1] == 5 or 2 not in leaf:
            continue
        day = time.strftime("%Y-%m-%d", time.gmtime(leaf[6]))
        row = rows[day, leaf[2].decode(), leaf.get(21, 0)]
        row["requests"] += 1
        row["failures"] += leaf[1] not in (0, 4)
        for word, field in FIELDS.items():
            row[word] += leaf.get(field, 0)
        row["rent"] += leaf.get(23, 0)
    return rows


def check_rent(wanted, found, what):
    """Rent goes on behind the last receipt. That of groups has rows of its own, so their functions' receipts are compared in the sum."""
    told, paid = (sum(row["rent"] for row in rows.values()) for rows in (wanted, found))
    if paid < told:
        sys.exit(f"FAIL {what}: {paid} byte-seconds are paid, and receipts say {told}")


def compare(server, what, has_groups=False):
    status, body, _ = server.ask("GET", "/v1/usage?from=1970-01-01")
    assert status == 200, body
    usage = json.loads(body)
    wanted = sum_up(all_leaves(server))
    found = {}
    for row in usage["rows"]:
        name = row["function"] if row["tenant"] == "default" else row["tenant"] + "/" + row["function"]
        found[row["day"], name, row["version"]] = row
    for key in sorted(set(wanted) | set(found)):
        for word in ["requests", "failures", *FIELDS]:
            if wanted[key][word] != found.get(key, {}).get(word, 0):
                sys.exit(f"FAIL {what}: {key} {word} is {found.get(key, {}).get(word, 0)}, and the receipts add up to {wanted[key][word]}")
    check_rent(wanted, found, what)
    for name in {key[1] for key in wanted} if not has_groups else ():
        told = sum(row["rent"] for key, row in wanted.items() if key[1] == name)
        rent = sum(row["rent"] for key, row in found.items() if key[1] == name)
        if rent < told or (told == 0 and rent > 0 and name != "counter"):
            sys.exit(f"FAIL {what}: {name} has paid {rent} byte-seconds, and its receipts say {told}")
    for word in ["requests", "failures", "rent", *FIELDS]:
        if usage["total"][word] != sum(row[word] for row in usage["rows"]):
            sys.exit(f"FAIL {what}: the total of {word}")
    return usage


PRICES = {"currency": "EUR", "gas": "0.50", "rent": "0.02", "requests": "0.2", "bytes_out": "0.09"}
PRICED = {"gas": 12, "rent": 12, "requests": 6, "bytes_out": 9}


def check_bill(server, usage):
    """What FOCUS says is what the sums cost, to the last digit."""
    status, body, _ = server.ask("GET", "/v1/usage?from=1970-01-01&format=focus")
    assert status == 200, body
    rows = focus.check_file(body.decode())
    for word, power in PRICED.items():
        wanted = decimal.Decimal(PRICES[word]) * usage["total"][word] / 10 ** power
        found = focus.total(row for row in rows if row["SkuId"] == word)
        if word != "rent" and found != wanted:  # which goes on between two questions
            sys.exit(f"FAIL {word} costs {found}, and not {wanted}")
    return focus.total(rows)


def bill_rows(server):
    """All but state, which goes on costing something."""
    status, body, _ = server.ask("GET", "/v1/usage?from=1970-01-01&format=focus")
    assert status == 200, body
    return sorted(tuple(sorted(row.items())) for row in focus.check_file(body.decode()) if row["SkuId"] != "rent")


def check_other_prices(options, data, server, prices):
    """Other prices change no bill for what was used before, and price what is used from then on; also across a kill."""
    before = bill_rows(server)
    with open(prices, "w", encoding="utf-8") as f:
        json.dump({**PRICES, "requests": "7", "currency": "USD"}, f)
    for end in (server.stop, None):
        end() if end else server.kill()
        server = receipts.Server(options.gasworks, data, ["--prices", prices])
        after = bill_rows(server)
        if [row for row in after if row in before] != before:
            sys.exit("FAIL other prices change a bill for what was used before")
        server.ask("GET", "/f/hello")
    added = [dict(row) for row in bill_rows(server) if row not in before]
    requests = [row for row in added if row["SkuId"] == "requests"]
    if len(requests) != 1 or requests[0]["BillingCurrency"] != "USD" or requests[0]["SkuPriceId"] == "requests" or \
            decimal.Decimal(requests[0]["BilledCost"]) != 7 * decimal.Decimal(requests[0]["ConsumedQuantity"]) / 10 ** 6:
        sys.exit(f"FAIL what is used at other prices is billed as {requests}")
    return server


def check_changes(server):
    """Changes of a budget at the same time all count, as each names what it changes."""
    words = ("concurrency", "memory", "storage", "functions", "gas_per_second")
    for i in range(1, 11):
        threads = [threading.Thread(target=server.ask, args=("PATCH", "/v1/budget", json.dumps({word: i << 40}))) for word in words]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        budget = json.loads(server.ask("GET", "/v1/budget")[1])
        if any(budget[word] != i << 40 for word in words):
            sys.exit(f"FAIL {len(words)} changes at once, and of {i << 40} each there is {budget}")
    server.ask("PATCH", "/v1/budget", json.dumps(dict.fromkeys(words)))


# Runs for ever, or as long as somebody pays.
BURN = """(module (memory (export "memory") 1) (func (export "handle") (loop $again (br $again))))"""
GAS_OF_CREDIT, SLICE, LOOPS = 200_000_000, 5_000_000, 2


def check_balance(options, work):
    """A prepaid tenant gets what it has paid for, and at most a slice of each loop more, however often the server dies."""
    data, prices = os.path.join(work, "prepaid"), os.path.join(work, "prices.json")
    with open(prices, "w", encoding="utf-8") as f:
        json.dump({"currency": "EUR", "gas": "1"}, f)
    more = ["--prices", prices, "--gas-limit", "10000000"]
    server = receipts.Server(options.gasworks, data, more)
    receipts.deploy_text(server, work, "burn", BURN)
    status, body, _ = server.ask("PATCH", "/v1/budget", json.dumps({"credit": f"{GAS_OF_CREDIT / 10**12:.9f}"}))
    assert status == 200, body
    paid = False
    for kill in range(200):
        over, threads = start_load(server, ["/f/burn"], 6)
        time.sleep(random.uniform(0.05, 0.5))
        server.kill()
        over.set()
        for thread in threads:
            thread.join()
        server = receipts.Server(options.gasworks, data, more)
        status, body, _ = server.ask("GET", "/v1/budget")
        if json.loads(body)["left"] == "0":
            paid = True
            break
    if not paid:
        sys.exit(f"FAIL after {kill} kills there is still something left: {body}")
    status, body, _ = server.ask("POST", "/f/burn")
    if status != 402 or b"balance" not in body:
        sys.exit(f"FAIL whoever has nothing left gets {status}: {body}")
    gas = compare(server, "a prepaid tenant")["total"]["gas"]
    if not GAS_OF_CREDIT <= gas <= GAS_OF_CREDIT + LOOPS * SLICE:
        sys.exit(f"FAIL a credit of {GAS_OF_CREDIT} gas was good for {gas}")
    status, body, _ = server.ask("PATCH", "/v1/budget", json.dumps({"credit": f"{2 * GAS_OF_CREDIT / 10**12:.9f}"}))
    assert status == 200, body
    status, body, _ = server.ask("POST", "/f/burn")
    if b"out of gas" not in body:
        sys.exit(f"FAIL whoever has paid again gets {status}: {body}")
    server.kill()
    print(f"ok: a credit of {GAS_OF_CREDIT} gas was good for {gas}, over {kill + 1} kills")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("gasworks")
    parser.add_argument("examples")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    random.seed(options.seed)
    print(f"seed {options.seed}")
    work = tempfile.mkdtemp(prefix="gasworks-usage-")
    data = os.path.join(work, "data")
    prices = os.path.join(work, "bill.json")
    with open(prices, "w", encoding="utf-8") as f:
        json.dump(PRICES, f)
    server = receipts.Server(options.gasworks, data, ["--prices", prices])
    for name, file in (("hello", "hello"), ("counter", "counter-c"), ("trap", "trap")):
        with open(os.path.join(options.examples, file + ".wasm"), "rb") as f:
            status, body, _ = server.ask("PUT", "/v1/functions/" + name, f.read())
        assert status == 201, body
    functions = ["/f/hello", "/f/counter/a", "/f/counter/b", "/f/trap?kind=div"]
    usage = None
    for kill in range(options.count):
        over, threads = start_load(server, functions, 4)
        time.sleep(random.uniform(0.02, 0.4))
        if random.random() < 0.3:  # an answer between kills: it stores what there is
            server.ask("GET", "/v1/usage")
        if kill % 10 == 9:
            over.set()
            server.stop()
        else:
            server.kill()
        over.set()
        for thread in threads:
            thread.join()
        server = receipts.Server(options.gasworks, data, ["--prices", prices])
        if kill % 4 == 0 or kill == options.count - 1:
            usage = compare(server, f"after kill {kill}")
    if not usage["total"]["rent"] and options.count >= 10:
        sys.exit("FAIL state has cost nothing")
    bill = check_bill(server, usage)
    server = check_other_prices(options, data, server, prices)
    check_changes(server)
    server.kill()
    check_balance(options, work)
    shutil.rmtree(work)
    total = usage["total"]
    print(f"ok: {options.count} kills, {total['requests']} requests, {total['gas']} gas, {total['rent']} byte-seconds, {bill} EUR: usage is the sum of "
          "receipts")


if __name__ == "__main__":
    main()
