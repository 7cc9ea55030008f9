#!/usr/bin/env python3
"""Checks a file of costs against the FinOps Open Cost and Usage Specification (FOCUS) 1.2: columns, null values, formats, allowed values
   and what must hold between columns. Written from the specification alone; it knows nothing of what made the file.
   focus.py FILE [--total COST]     --total: what all BilledCost must add up to
   focus.py --self-test"""
import csv
import datetime
import decimal
import io
import re
import sys

decimal.getcontext().prec = 60

# Columns that each dataset has, and which of these may be empty.
MANDATORY = {"BilledCost": False, "BillingAccountId": False, "BillingAccountName": True, "BillingCurrency": False,
             "BillingPeriodEnd": False, "BillingPeriodStart": False, "ChargeCategory": False, "ChargeClass": True,
             "ChargeDescription": True, "ChargePeriodEnd": False, "ChargePeriodStart": False, "ContractedCost": False,
             "EffectiveCost": False, "InvoiceIssuerName": False, "ListCost": False, "PricingQuantity": True, "PricingUnit": True,
             "ProviderName": False, "PublisherName": False, "ServiceCategory": False, "ServiceName": False, "ServiceSubcategory": False}
# Those that there may be besides.
CONDITIONAL = {"AvailabilityZone", "BillingAccountType", "CapacityReservationId", "CapacityReservationStatus", "ChargeFrequency",
               "CommitmentDiscountCategory", "CommitmentDiscountId", "CommitmentDiscountName", "CommitmentDiscountQuantity",
               "CommitmentDiscountStatus", "CommitmentDiscountType", "CommitmentDiscountUnit", "ConsumedQuantity", "ConsumedUnit",
               "ContractedUnitPrice", "InvoiceId", "ListUnitPrice", "PricingCategory", "PricingCurrency",
               "PricingCurrencyContractedUnitPrice", "PricingCurrencyEffectiveCost", "PricingCurrencyListUnitPrice", "RegionId",
               "RegionName", "ResourceId", "ResourceName", "ResourceType", "SkuId", "SkuMeter", "SkuPriceDetails", "SkuPriceId",
               "SubAccountId", "SubAccountName", "SubAccountType", "Tags"}
NUMBERS = {"BilledCost", "ContractedCost", "EffectiveCost", "ListCost", "PricingQuantity", "ConsumedQuantity", "ContractedUnitPrice",
           "ListUnitPrice"}
TIMES = {"BillingPeriodEnd", "BillingPeriodStart", "ChargePeriodEnd", "ChargePeriodStart"}
UNITS = {"PricingUnit", "ConsumedUnit"}
ALLOWED = {"ChargeCategory": {"Usage", "Purchase", "Tax", "Credit", "Adjustment"}, "ChargeClass": {"", "Correction"},
           "ChargeFrequency": {"One-Time", "Recurring", "Usage-Based"},
           "PricingCategory": {"", "Standard", "Dynamic", "Committed", "Other"}}
SUBCATEGORIES = {"Compute": {"Containers", "End User Computing", "Quantum Compute", "Serverless Compute", "Virtual Machines",
                             "Other (Compute)"},
                 "Storage": {"Backup Storage", "Block Storage", "File Storage", "Object Storage", "Storage Platforms",
                             "Other (Storage)"},
                 "Networking": {"Application Networking", "Content Delivery", "Data Transfer", "Load Balancing", "Network Connectivity",
                                "Network Infrastructure", "Network Management", "Network Routing", "Network Security",
                                "Other (Networking)"}}
SIZES = {"b", "B"} | {prefix + i + unit for prefix in "KMGTPE" for i in ("", "i") for unit in "bB"}
SPANS = {"Year", "Month", "Day", "Hour", "Minute", "Second", "Millisecond", "Microsecond"}


class Wrong(Exception):
    pass


def check(ok, what):
    if not ok:
        raise Wrong(what)


def number(text, column):
    check(re.fullmatch(r"-?\d+(\.\d+)?(E[+-]?\d+)?", text), f"{column}: {text!r} is no number as the Numeric Format has them")
    return decimal.Decimal(text)


def time(text, column):
    check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text), f"{column}: {text!r} is no UTC time of ISO 8601")
    return datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")


def unit(text, column):
    """[QUANTITY ]UNITS, [QUANTITY ]UNIT-UNITS; sizes as abbreviations, all else capitalised."""
    match = re.fullmatch(r"(?:[1-9]\d* )?([A-Za-z]+(?: [A-Z][a-z]+)*)(?:-([A-Za-z]+))?(?:/([A-Za-z]+))?", text)
    check(match, f"{column}: {text!r} is no unit as the Unit Format has them")
    for part in filter(None, match.groups()):
        check(part in SIZES or part[0].isupper(), f"{column}: the unit {part} is no noun with a capital")
        check(not re.search("byte|bit", part, re.I), f"{column}: sizes are abbreviated, as {part} is not")
    if match.group(2) and match.group(1) in SIZES:
        check(match.group(2).rstrip("s") in SPANS, f"{column}: {match.group(2)} is no span of time")


def check_columns(header):
    check(len(set(header)) == len(header), "a column is there twice")
    for name in MANDATORY:
        check(name in header, f"the column {name} is missing")
    for name in header:
        check(name in MANDATORY or name in CONDITIONAL or re.fullmatch(r"x_[A-Za-z0-9]+", name),
              f"{name} is no column of FOCUS, and does not begin with x_")


def check_formats(row):
    for name, may_be_null in MANDATORY.items():
        check(may_be_null or row[name] != "", f"{name} is empty")
    for name, text in row.items():
        check(text.lower() not in ("null", "none", "n/a"), f"{name}: {text!r} stands for no value, and should be empty")
        if name in NUMBERS and text:
            number(text, name)
        if name in TIMES:
            time(text, name)
        if name in UNITS and text:
            unit(text, name)
        if name in ALLOWED:
            check(text in ALLOWED[name], f"{name}: {text!r} is not allowed")
    check(re.fullmatch(r"[A-Z]{3}", row["BillingCurrency"]), "BillingCurrency is no code of ISO 4217")
    category = row["ServiceCategory"]
    check(category in SUBCATEGORIES, f"ServiceCategory: {category!r} is not known here")
    check(row["ServiceSubcategory"] in SUBCATEGORIES[category], f"ServiceSubcategory: {row['ServiceSubcategory']!r} is not of {category}")


def check_periods(row):
    start, end = time(row["ChargePeriodStart"], ""), time(row["ChargePeriodEnd"], "")
    first, last = time(row["BillingPeriodStart"], ""), time(row["BillingPeriodEnd"], "")
    check(start < end and first < last, "a period ends before it begins")
    check(first <= start and end <= last, "the charge's period is not within the billing period")


def check_costs(row):
    """Between quantities, prices and costs."""
    get = lambda name: number(row[name], name) if row.get(name) else None
    is_usage = row["ChargeCategory"] in ("Usage", "Purchase") and row["ChargeClass"] != "Correction"
    if not is_usage:
        return
    for name in ("PricingQuantity", "PricingUnit"):
        check(row[name] != "", f"{name} is empty, of a charge for {row['ChargeCategory']}")
    check(get("PricingQuantity") > 0, "PricingQuantity is not positive")
    for cost, price in (("ListCost", "ListUnitPrice"), ("ContractedCost", "ContractedUnitPrice")):
        if get(price) is not None:
            check(get(price) >= 0, f"{price} is negative")
            check(get(price) * get("PricingQuantity") == get(cost), f"{cost} is not {price} times PricingQuantity")
    if row.get("ConsumedQuantity"):
        check(get("ConsumedQuantity") > 0 and row.get("ConsumedUnit"), "ConsumedQuantity is not positive, or has no unit")
    check(bool(row.get("SkuPriceId")) <= bool(row.get("SkuId")), "there is a SkuPriceId, and no SkuId")
    check(bool(row.get("ResourceName")) <= bool(row.get("ResourceId")), "there is a ResourceName, and no ResourceId")
    check(bool(row.get("SubAccountName")) <= bool(row.get("SubAccountId")), "there is a SubAccountName, and no SubAccountId")


def check_file(text):
    """The rows, or Wrong."""
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    check(rows, "there is no line of names")
    check_columns(rows[0])
    result = []
    for n, values in enumerate(rows[1:], 2):
        check(len(values) == len(rows[0]), f"line {n} has {len(values)} values, and there are {len(rows[0])} columns")
        row = dict(zip(rows[0], values))
        try:
            check_formats(row)
            check_periods(row)
            check_costs(row)
        except Wrong as wrong:
            raise Wrong(f"line {n}: {wrong}") from wrong
        result.append(row)
    return result


def total(rows):
    return sum((number(row["BilledCost"], "BilledCost") for row in rows), decimal.Decimal(0))


def self_test():
    good = {name: "" for name in MANDATORY} | {
        "BilledCost": "0.000000000000000000001", "BillingAccountId": "1", "BillingCurrency": "EUR", "BillingPeriodStart": "2026-11-01T00:00:00Z",
        "BillingPeriodEnd": "2026-12-01T00:00:00Z", "ChargeCategory": "Usage", "ChargePeriodStart": "2026-11-30T00:00:00Z",
        "ChargePeriodEnd": "2026-12-01T00:00:00Z", "ContractedCost": "1", "EffectiveCost": "1", "InvoiceIssuerName": "x", "ListCost": "1",
        "PricingQuantity": "2", "PricingUnit": "TB-Seconds", "ProviderName": "x", "PublisherName": "x", "ServiceCategory": "Compute",
        "ServiceName": "x", "ServiceSubcategory": "Serverless Compute", "ListUnitPrice": "0.5"}
    bad = [{"BilledCost": ""}, {"BilledCost": "1,5"}, {"BillingCurrency": "eur"}, {"ChargePeriodEnd": "2026-12-02T00:00:00Z"},
           {"ChargePeriodStart": "2026-11-30"}, {"ChargeCategory": "usage"}, {"PricingUnit": "Bytes"}, {"PricingUnit": "GB-Sec"},
           {"PricingUnit": ""}, {"ListUnitPrice": "0.6"}, {"ServiceSubcategory": "Block Storage"}, {"ServiceCategory": "Things"},
           {"ChargeClass": "NULL"}, {"PricingQuantity": "0"}, {"Unknown": "1"}, {"x_a": "1", "BilledCost": "-"}]

    def write(row):
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(row)
        writer.writerow(row.values())
        return out.getvalue()
    check_file(write(good))
    for change in bad:
        try:
            check_file(write(good | change))
        except Wrong:
            continue
        sys.exit(f"FAIL {change} is found to be right")
    for name in MANDATORY:
        try:
            check_file(write({key: value for key, value in good.items() if key != name}))
        except (Wrong, KeyError):
            continue
        sys.exit(f"FAIL a file without {name} is found to be right")
    print(f"{len(bad) + len(MANDATORY)} wrong files are found")


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return
    try:
        with open(sys.argv[1], encoding="utf-8", newline="") as f:
            rows = check_file(f.read())
        if "--total" in sys.argv:
            wanted = decimal.Decimal(sys.argv[sys.argv.index("--total") + 1])
            check(total(rows) == wanted, f"all adds up to {total(rows)}, and not to {wanted}")
    except (Wrong, csv.Error) as wrong:
        sys.exit(f"FAIL {wrong}")
    print(f"{len(rows)} charges, {total(rows)} in all: as FOCUS 1.2 has them")


if __name__ == "__main__":
    main()
