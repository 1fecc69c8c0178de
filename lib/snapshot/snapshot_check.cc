#include "snapshot/snapshot_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "base/first_error.h"
#include "loop/thread.h"
#include "memory/zero_page.h"
#include "snapshot/get_lanes.h"

namespace ferry {
namespace {

/// What was found, by any thread.
class Findings {
 public:
  void add(std::string what) {
    const std::scoped_lock lock(mutex_);
    add_locked(std::move(what));
  }
  /// Whoever finds it first: what is read again may be another the next time.
  void add(const SnapshotReader& reader, const ChecksumBlock& block) {
    const std::scoped_lock lock(mutex_);
    if (blocks_.insert(block).second) add_locked(reader.name_of(block));
  }
  /// Tells `progress`, if there is one, under the lock: one call at a time, each with more.
  void read(std::uint64_t bytes, const std::function<void(std::uint64_t)>& progress) {
    const std::scoped_lock lock(mutex_);
    found_.bytes_read += bytes;
    if (progress) progress(found_.bytes_read);
  }
  /// In the order of their text, which threads do not keep.
  SnapshotCheck take() {
    const std::scoped_lock lock(mutex_);
    std::ranges::sort(found_.damages, {}, &Damage::what);
    return std::move(found_);
  }

 private:
  void add_locked(std::string what) {
    ++found_.damaged;
    if (found_.damages.size() < SnapshotCheck::k_most_damages) {
      found_.damages.push_back({std::move(what)});
    }
  }

  std::mutex mutex_;  // guards the rest
  SnapshotCheck found_;
  std::set<ChecksumBlock> blocks_;
};

class CheckSink final : public PageSink {
 public:
  CheckSink(const SnapshotReader& reader, Findings& findings,
            const std::function<void(std::uint64_t)>& progress)
      : reader_(reader), findings_(findings), progress_(progress) {}

  std::span<std::byte> room_for(const PageRun&) override { return {}; }
  Result<std::optional<PageRun>> take(const PageRun& units, std::span<const std::byte> bytes,
                                      const std::vector<std::uint64_t>& damaged) override {
    for (const std::uint64_t offset : damaged) {
      findings_.add(reader_.name_of(units.region, offset));
    }
    findings_.read(bytes.size(), progress_);
    return std::nullopt;
  }
  Result<void> lost(const ChecksumBlock& block, const Error&) override {
    findings_.add(reader_, block);
    return {};
  }

 private:
  const SnapshotReader& reader_;
  Findings& findings_;
  const std::function<void(std::uint64_t)>& progress_;
};

/// All that is no page, read by one thread.
class RestCheck {
 public:
  RestCheck(const SnapshotReader& reader, Findings& findings, std::stop_token stop)
      : reader_(reader), findings_(findings), stop_(std::move(stop)) {}

  Result<void> run() {
    const auto& regions = reader_.plan().regions;
    for (RegionId id = 0; id < regions.size(); ++id) {
      FERRY_TRY(check_table(id));
      FERRY_TRY(check_zeros(id));
    }
    for (const wire::ImageSection& section : reader_.sections()) {
      FERRY_TRY(
          note(reader_.verify_section(section, stop_), fmt::format("section '{}'", section.name)));
    }
    return {};
  }

 private:
  Result<void> go_on() const {
    if (!stop_.stop_requested()) return {};
    return fail(Errc::cancelled, "cancelled");
  }

  /// A finding where it is damage, a failure where it is another.
  Result<void> note(Result<void> done, std::string what) {
    if (done || done.error().code != Errc::integrity) return done;
    findings_.add(std::move(what));
    return {};
  }

  /// Every block: also one whose pages are all zeros may be damaged, and must be a page's one day.
  Result<void> check_table(RegionId id) {
    const wire::ImagePlan::Region& region = reader_.plan().regions[id];
    for (std::uint64_t unit = 0; unit < region.units; unit += wire::k_checksums_a_block) {
      const ChecksumBlock block{id, unit / wire::k_checksums_a_block};
      FERRY_TRY(go_on());
      const auto checksums = reader_.checksums(block);
      if (checksums) continue;
      if (checksums.error().code != Errc::integrity) return std::unexpected(checksums.error());
      findings_.add(reader_, block);
    }
    return {};
  }

  /// What is not present reads as zeros: it is a hole, or must hold nothing else.
  Result<void> check_zeros(RegionId id) {
    const wire::ImagePlan::Region& region = reader_.plan().regions[id];
    const std::uint64_t end = region.data_offset + region.units * k_unit_bytes;
    std::uint64_t at = region.data_offset;
    while (at < end) {
      const auto data = FERRY_TRY(reader_.place().next_data(at));
      if (!data || data->offset >= end) break;
      at = data->offset / k_unit_bytes * k_unit_bytes;
      const std::uint64_t stop_at = std::min(end, wire::padded(data->offset + data->length));
      FERRY_TRY(check_absent(id, at - region.data_offset, stop_at - region.data_offset));
      at = stop_at;
    }
    return {};
  }

  /// The units of [from, end) that are not present, by offsets in the region.
  Result<void> check_absent(RegionId id, std::uint64_t from, std::uint64_t end) {
    while (from < end) {
      const auto present = reader_.present().next_run(id, from);
      const std::uint64_t until = present ? std::min(end, present->offset) : end;
      for (; from < until; from += std::min<std::uint64_t>(until - from, k_piece_bytes)) {
        FERRY_TRY(go_on());
        FERRY_TRY(check_piece(id, from, std::min<std::uint64_t>(until - from, k_piece_bytes)));
      }
      if (present) from = present->offset + wire::padded(present->length);
    }
    return {};
  }

  Result<void> check_piece(RegionId id, std::uint64_t offset, std::uint64_t length) {
    const auto units = std::span(piece_).first(length);
    FERRY_TRY(reader_.place().read(reader_.plan().regions[id].data_offset + offset, units));
    findings_.read(length, {});
    for (std::uint64_t at = 0; at < length; at += k_unit_bytes) {
      if (!is_zero(units.subspan(at, k_unit_bytes))) {
        findings_.add(reader_.name_of(id, offset + at) + ": not zeros");
      }
    }
    return {};
  }

  static constexpr std::uint64_t k_piece_bytes = PlacedIo::k_staging_bytes;
  const SnapshotReader& reader_;
  Findings& findings_;
  const std::stop_token stop_;
  std::vector<std::byte> piece_ = std::vector<std::byte>(k_piece_bytes);
};

}  // namespace

Result<SnapshotCheck> check_snapshot(const SnapshotReader& reader, unsigned lanes,
                                     const std::stop_token& stop,
                                     const std::function<void(std::uint64_t)>& progress) {
  Findings findings;
  FirstError first;
  std::stop_source ending;  // asked for, or the other half has failed
  const std::stop_callback on_stop(stop, [&ending] { ending.request_stop(); });
  const auto keep = [&first, &ending](Error error) {
    first.set(std::move(error));
    ending.request_stop();
  };

  std::thread rest = FERRY_TRY(start_thread("ferry-check", [&] {
    if (auto done = RestCheck(reader, findings, ending.get_token()).run(); !done) {
      keep(std::move(done).error());
    }
  }));
  CheckSink sink(reader, findings, progress);
  if (auto pages = read_pages(reader, {.lanes = lanes, .stop = ending.get_token()}, sink); !pages) {
    keep(std::move(pages).error());
  }
  rest.join();
  if (auto error = first.get()) return std::unexpected(std::move(*error));
  return findings.take();
}

}  // namespace ferry
