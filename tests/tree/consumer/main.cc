// Migrates a megabyte within one process: 0 when it arrived.
#include <ferry/ferry.h>

#include <algorithm>
#include <cstdio>
#include <future>
#include <thread>

namespace {

using Bytes = std::vector<std::byte>;

ferry::Result<ferry::GuestMemory> one_region(Bytes& ram) {
  return ferry::GuestMemory::create({{.name = "ram", .length = ram.size(), .host = ram.data()}});
}

class Still final : public ferry::SourceGuest, ferry::DirtyTracker {
 public:
  explicit Still(ferry::GuestMemory memory) : memory_(std::move(memory)) {}
  const ferry::GuestMemory& memory() override { return memory_; }
  ferry::DirtyTracker& dirty_tracker() override { return *this; }
  ferry::Result<void> pause() override { return {}; }
  ferry::Result<void> resume() override { return {}; }

 private:
  ferry::Result<void> start() override { return {}; }
  ferry::Result<void> harvest(ferry::DirtyBitmap&) override { return {}; }
  void stop() noexcept override {}
  ferry::GuestMemory memory_;
};

class Arriving final : public ferry::DestinationGuest {
 public:
  explicit Arriving(Bytes& ram) : ram_(ram) {}
  ferry::Result<ferry::GuestMemory> map_memory(const ferry::Layout& wanted) override {
    ram_.resize(wanted.regions.at(0).length);
    return one_region(ram_);
  }
  ferry::Result<void> prepare() override { return {}; }
  ferry::Result<void> start(const ferry::OwnerToken&) override { return {}; }

 private:
  Bytes& ram_;
};

}  // namespace

int main() {
  Bytes here(1 << 20, std::byte{42});
  Bytes there;
  auto runtime = ferry::make_runtime();
  if (!runtime) return 1;

  std::promise<std::string> address;
  ferry::ReceiveOptions options;
  options.observer.listening = [&](const ferry::Uri& local, ferry::Reach) {
    address.set_value(local.text());
  };
  auto received = std::async(std::launch::async, [&] {
    Arriving guest(there);
    return ferry::receive(**runtime, guest, "tcp://127.0.0.1:0", options);
  });
  Still guest(one_region(here).value());
  const ferry::Outcome sent =
      ferry::send(**runtime, guest, address.get_future().get(), ferry::SendOptions{});
  if (!sent.ok()) std::fprintf(stderr, "%s\n", sent.why_not->text().c_str());
  return sent.ok() && received.get().ok() && here == there ? 0 : 1;
}
