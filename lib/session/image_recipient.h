// A recipient that is a snapshot in a place: there is nobody to say READY.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "ferry/guest.h"
#include "ferry/place.h"
#include "ferry/runtime.h"
#include "session/image_state.h"
#include "session/precopy_gauge.h"
#include "session/progress_ticks.h"
#include "session/recipient.h"
#include "snapshot/put_lane.h"
#include "snapshot/queue_crew.h"
#include "snapshot/snapshot_writer.h"

namespace ferry {

/// Writes a guest down. The lanes' threads live as long as a round. prepare() seals the snapshot,
/// makes it durable and gives it its name; so commit() has nothing to do that might fail, and a
/// file leaves nobody in doubt who has the guest. Driven by one thread; made and destroyed there,
/// and not on the loop's.
class ImageRecipient final : public Recipient {
 public:
  /// `gauge` is what progress says of the rounds.
  ImageRecipient(Runtime& runtime, const GuestMemory& memory, const SendOptions& options,
                 const PrecopyGauge& gauge, std::stop_token stop);

  /// First of all: where to. Nothing is made there before layout().
  Result<void> connect(Places& places, const Uri& to);

  Result<void> layout(const Layout& layout) override;
  Result<void> begin_round(std::uint32_t round, Motion motion) override;
  Result<void> submit(const PageRun& run, Content content) override;
  Result<void> end_round(std::uint32_t round, DirtyBitmap& again) override;
  StateSink& state() override { return state_; }
  LineFigures line() const override;
  /// With digests it reads all of the snapshot again, and compares.
  Result<void> prepare(std::vector<wire::Digest> digests) override;
  Result<void> commit(const OwnerToken& token) override;

  void end() {}
  Error give_up(Error error);
  void add_to(Report& report) const;

 private:
  Result<void> read_again(const std::vector<wire::Digest>& digests);
  Progress progress() const;

  const GuestMemory& memory_;
  const SendOptions& options_;
  const PrecopyGauge& gauge_;
  const std::stop_token stop_;
  const Clock::time_point began_ = Clock::now();
  EventLoop& loop_;
  Places* places_ = nullptr;
  Uri to_;
  std::unique_ptr<SnapshotWriter> writer_;
  ImageState state_{"/var/tmp", stop_};
  std::vector<std::unique_ptr<PutLane>> lanes_;
  std::optional<CloneSource> clones_;                                 // of a round
  std::optional<QueueCrew> crew_;                                     // likewise
  std::optional<std::stop_callback<std::function<void()>>> on_stop_;  // likewise
  std::optional<ProgressTicks> ticks_;  // last: it uses all of the above
};

}  // namespace ferry
