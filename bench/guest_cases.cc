#include "bench/guest_cases.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "bench/data.h"
#include "bench/guest_run.h"
#include "bench/library_run.h"
#include "bench/process.h"
#include "bench/programs.h"
#include "bench/qemu_run.h"

namespace ferry::bench {
namespace {

constexpr unsigned k_lanes = 2;
constexpr std::chrono::milliseconds k_max_downtime{50};
constexpr double k_longest_gap_ms = 80;
constexpr double k_of_plain_copy = 1.4;

/// Of a guest: whole huge pages, and enough for its program.
std::uint64_t guest_bytes(const Plan& plan) {
  return std::max(plan.bytes / (2 * k_mib) * (2 * k_mib), k_least_guest_bytes);
}

/// A fifth of what the bare limit carries here and now, and no more than all memory in a second.
Result<std::uint64_t> dirty_rate(const Plan& plan, std::uint64_t memory) {
  const Transfer transfer{.bytes = plan.bytes, .channels = k_lanes};
  const Runs bare = FERRY_TRY(alone(3, [&] { return bare_memory(transfer); }));
  const double rate = static_cast<double>(plan.bytes) /
                      median_of(bare.ferry, [](const Run& run) { return run.seconds; });
  return std::min(static_cast<std::uint64_t>(rate / 5), memory);
}

/// Migrations, each with a plain copy of as many bytes behind it. One more pair comes first.
struct Observed {
  Runs runs;
  std::vector<GuestRun> guests;
};
Result<Observed> observe(unsigned repeats, const GuestMigration& migration) {
  Observed seen;
  for (unsigned i = 0; i <= repeats; ++i) {
    const GuestRun guest = FERRY_TRY(migrate_guest(migration));
    const Run plain = FERRY_TRY(bare_beside_guest(migration, guest.wire_bytes));
    if (i == 0) continue;
    seen.guests.push_back(guest);
    seen.runs.ferry.push_back(guest.run);
    seen.runs.limit.push_back(plain);
  }
  return seen;
}

double median_of_guests(const std::vector<GuestRun>& guests, double GuestRun::*which) {
  std::vector<double> values;
  for (const GuestRun& guest : guests) values.push_back(guest.*which);
  return median(std::move(values));
}

Finding finding_of(Observed seen, const GuestMigration& migration) {
  std::vector<double> gaps;
  for (const GuestRun& guest : seen.guests) gaps.push_back(guest.longest_gap_ms);
  const double of_plain_copy = 1 / ratio_of_pairs(seen.runs);
  Finding finding{"guest-downtime",     "plain copy of the bytes sent, the guest running",
                  migration.bytes,      migration.channels,
                  std::move(seen.runs), {}};
  finding.tracker = migration.tracker;
  finding.bars = {{"longest_gap_ms", median(gaps), Bar::Side::at_most, k_longest_gap_ms},
                  {"seconds_of_plain_copy", of_plain_copy, Bar::Side::at_most, k_of_plain_copy}};
  finding.figures = {{"dirty_bytes_per_second", static_cast<double>(migration.dirty_rate)},
                     {"downtime_ms", median_of_guests(seen.guests, &GuestRun::downtime_ms)},
                     {"rounds", median_of_guests(seen.guests, &GuestRun::rounds)},
                     {"worst_longest_gap_ms", *std::ranges::max_element(gaps)}};
  return finding;
}

}  // namespace

Result<void> guest_downtime(const Plan& plan, const Report& report) {
  const Result<GuestProgram> program = find_guest_program();
  if (!program) return say_skipped("guest-downtime", program.error()), Result<void>();
  const std::uint64_t bytes = guest_bytes(plan);
  const std::uint64_t rate = FERRY_TRY(dirty_rate(plan, bytes));
  for (const std::string& tracker : program->trackers) {
    const GuestMigration migration{.program = *program,
                                   .bytes = bytes,
                                   .workers = 2,
                                   .dirty_rate = rate,
                                   .tracker = tracker,
                                   .max_downtime = k_max_downtime,
                                   .channels = k_lanes};
    report(finding_of(FERRY_TRY(observe(plan.repeats, migration)), migration));
  }
  return {};
}

Result<void> guest_qemu(const Plan& plan, const Report& report) {
  const Result<GuestProgram> program = find_guest_program();
  if (!program) return say_skipped("guest-qemu", program.error()), Result<void>();
  const Result<std::string> qemu = find_program(plan.qemu);
  if (!qemu) return say_skipped("guest-qemu", qemu.error()), Result<void>();
  const GuestMigration migration{
      .program = *program, .bytes = guest_bytes(plan), .channels = k_lanes};
  const ScratchFile image(scratch_path(plan, "random.img"));
  FERRY_TRY(in_a_child([&] { return make_random_image(image.path(), migration.bytes); }));
  const QemuMigration peer{.program = *qemu,
                           .certificates = {},
                           .source = image.path(),
                           .destination = scratch_path(plan, "out"),
                           .bytes = migration.bytes,
                           .channels = k_lanes};
  Runs runs = FERRY_TRY(in_pairs(
      plan.repeats, [&]() -> Result<Run> { return FERRY_TRY(migrate_guest(migration)).run; },
      [&] { return qemu_memory(peer); }));
  const double cheaper =
      median_of(runs.limit, both_cpu_seconds) / median_of(runs.ferry, both_cpu_seconds);
  std::vector<Bar> bars{{"ratio", ratio_of_pairs(runs), Bar::Side::at_least, 1},
                        {"cpu_seconds_ratio", cheaper, Bar::Side::at_least, 1}};
  report({"guest-qemu", "QEMU's multifd over tcp", migration.bytes, k_lanes, std::move(runs),
          std::move(bars)});
  return {};
}

}  // namespace ferry::bench
