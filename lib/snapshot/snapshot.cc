#include "ferry/snapshot.h"

#include <utility>

#include "ferry/runtime.h"
#include "snapshot/snapshot_check.h"
#include "snapshot/snapshot_reader.h"

namespace ferry {

Result<std::unique_ptr<Snapshot>> Snapshot::open(Runtime& runtime, std::string_view uri) {
  const Uri from = FERRY_TRY(Uri::parse(uri));
  Places* const places = FERRY_TRY(runtime.transport(from.scheme))->places();
  if (places == nullptr) {
    return fail(Errc::usage, "open snapshot " + from.shown() + ": this is no file's address",
                "write file:///path");
  }
  auto place = FERRY_TRY(places->open(from));
  auto reader = FERRY_TRY(SnapshotReader::open(std::move(place), from.path));
  return std::unique_ptr<Snapshot>(new Snapshot(std::move(reader)));
}

Snapshot::Snapshot(std::unique_ptr<SnapshotReader> reader) : reader_(std::move(reader)) {}
Snapshot::~Snapshot() = default;

const Layout& Snapshot::layout() const noexcept { return reader_->header().layout; }
const SnapshotInfo& Snapshot::info() const noexcept { return reader_->info(); }
const PageBitmap& Snapshot::present() const noexcept { return reader_->present(); }

Result<void> Snapshot::fetch(const PageRun& run, std::span<std::byte> into) const {
  return reader_->fetch(run, into);
}

Result<std::vector<std::byte>> Snapshot::section(std::size_t index) const {
  return reader_->section(index);
}

Result<SnapshotCheck> Snapshot::check(unsigned lanes, std::stop_token stop,
                                      std::function<void(std::uint64_t)> progress) const {
  return check_snapshot(*reader_, lanes, stop, progress);
}

}  // namespace ferry
