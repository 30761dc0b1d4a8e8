/*
 * What came: each number once and in order, and how long each was on its way.
 *
 * Latencies go to a histogram with 64 steps for each power of two, so that a percentile is right within 1.6 %
 * however many there are.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "load.h"

void ledger_open(struct ledger *ledger, uint64_t room)
{
    ledger->seen = allocate(room / 8 + 1, 1);
    ledger->room = room;
}

void ledger_take(struct ledger *ledger, uint64_t number, struct verdict *verdict)
{
    if (number >= ledger->room) {
        verdict->wrong++;
        return;
    }
    unsigned char *byte = &ledger->seen[number / 8], bit = (unsigned char)(1u << number % 8);
    if (*byte & bit) {
        verdict->duplicated++;
        return;
    }
    *byte |= bit;
    ledger->got++;
    if (number < ledger->next)
        verdict->disordered++;
    else
        ledger->next = number + 1;
}

enum { STEP_BITS = 6, STEPS = 1 << STEP_BITS };

static uint64_t steps[64 * STEPS], taken, longest;

static unsigned step_of(uint64_t ns)
{
    if (ns < STEPS)
        return (unsigned)ns;
    unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - STEP_BITS;
    return (shift + 1) * STEPS + (unsigned)(ns >> shift & (STEPS - 1));
}

void latency_take(uint64_t ns)
{
    steps[step_of(ns)]++;
    taken++;
    if (ns > longest)
        longest = ns;
}

uint64_t latency_at(double share)
{
    if (share >= 1)
        return longest;
    uint64_t wanted = (uint64_t)(share * (double)taken), sum = 0;
    for (unsigned at = 0; at < 64 * STEPS; at++) {
        sum += steps[at];
        if (sum > wanted) {
            unsigned shift = at / STEPS;
            return shift ? (uint64_t)(STEPS + at % STEPS) << (shift - 1) : at;
        }
    }
    return longest;
}
