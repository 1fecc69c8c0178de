#include "tiny-vmm/tiny_vmm.h"

#include <algorithm>
#include <cstring>

#include "tiny-vmm/guest_program.h"
#include "tiny-vmm/long_mode.h"

namespace example {
namespace {

using ferry::Errc;
using ferry::Result;

std::string section_of(std::size_t vcpu) { return "vcpu" + std::to_string(vcpu); }

bool is_heartbeat(const kvm_run& exit) {
  return exit.exit_reason == KVM_EXIT_IO && exit.io.direction == KVM_EXIT_IO_OUT &&
         exit.io.port == k_heartbeat_port;
}

}  // namespace

Result<std::unique_ptr<Guest>> TinyVmm::create(const Options& options) {
  if (options.memory > k_most_memory) return ferry::fail(Errc::usage, "--memory: at most 240GiB");
  Ram ram = FERRY_TRY(Ram::create(options.memory));
  if (options.populate) FERRY_TRY(ram.populate());
  KvmMachine machine = FERRY_TRY(KvmMachine::create(ram.bytes()));
  auto memory = FERRY_TRY(ram.as_guest_memory());
  std::unique_ptr<TinyVmm> vmm(
      new TinyVmm(options, std::move(ram), std::move(machine), std::move(memory)));
  FERRY_TRY(vmm->make_tracker(options.tracker));
  FERRY_TRY(vmm->make_vcpus(options));
  return vmm;
}

TinyVmm::TinyVmm(const Options& options, Ram ram, KvmMachine machine, ferry::GuestMemory memory)
    : fill_(options.fill),
      pace_(Pace::of(options.dirty_rate / options.workers)),
      ram_(std::move(ram)),
      machine_(std::move(machine)),
      memory_(std::move(memory)),
      device_writes_(memory_.layout()) {}

/// Before there is a vCPU: a dirty ring must be.
Result<void> TinyVmm::make_tracker(const std::string& name) {
  const auto slots = machine_.slots();
  if (name.empty() || name == "log") {
    vcpu_writes_ = FERRY_TRY(ferry::track_kvm_log(machine_.fd(), memory_, slots));
  } else if (name == "ring") {
    auto ring = FERRY_TRY(ferry::KvmDirtyRing::create(machine_.fd(), memory_, slots));
    ring_ = ring.get();
    vcpu_writes_ = std::move(ring);
  } else if (name == "pagemap") {
    vcpu_writes_ = FERRY_TRY(ferry::track_own_mappings(memory_));
  } else {
    return ferry::fail(Errc::usage, "--tracker: log, ring or pagemap");
  }
  tracker_ = ferry::merge_trackers({vcpu_writes_.get(), &device_writes_});
  return {};
}

Result<void> TinyVmm::make_vcpus(const Options& options) {
  vcpus_.reserve(options.workers);  // their workers find them where they are
  for (unsigned index = 0; index < options.workers; ++index) {
    vcpus_.push_back(FERRY_TRY(machine_.add_vcpu(index)));
    if (ring_ != nullptr) FERRY_TRY(ring_->add_vcpu(vcpus_.back().fd()));
    workers_.add(
        std::make_unique<Worker>(pace_, [this, index] { return run_to_heartbeat(index); }));
  }
  return {};
}

Result<void> TinyVmm::boot() {
  std::ranges::copy(guest_program(), ram_.bytes().begin() + k_code);
  for (unsigned index = 0; index < vcpus_.size(); ++index) {
    const Slice slice =
        slice_of(k_data, ram_.bytes().size(), index, static_cast<unsigned>(vcpus_.size()));
    if (fill_ == Fill::noise) fill_with_noise(ram_, slice);
    const Walk walk{.slice = slice, .next = slice.begin};
    FERRY_TRY(vcpus_[index].reset(registers_for(walk, pace_.pages, index)));
  }
  return resume();
}

/// What a vCPU's thread does, again and again.
Result<void> TinyVmm::run_to_heartbeat(unsigned vcpu) {
  while (true) {
    const kvm_run* exit = FERRY_TRY(vcpus_[vcpu].enter());
    if (is_heartbeat(*exit)) break;
    if (exit->exit_reason != KVM_EXIT_DIRTY_RING_FULL) {
      return ferry::fail(Errc::guest, section_of(vcpu) +
                                          " left for a reason that it should not have: " +
                                          std::to_string(exit->exit_reason));
    }
    FERRY_TRY(ring_->empty());
  }
  answer_heartbeat(vcpu);
  return {};
}

/// The device's part. It writes past KVM, so it says what it wrote, when it has.
void TinyVmm::answer_heartbeat(unsigned vcpu) {
  const std::uint64_t mailbox = k_mailboxes + vcpu * ferry::k_unit_bytes;
  *ram_.word(mailbox) = workers_[vcpu].heartbeats().count + 1;
  device_writes_.wrote({.region = 0, .offset = mailbox, .length = ferry::k_unit_bytes});
}

Result<void> TinyVmm::pause() {
  Result<void> paused = workers_.pause();
  for (Vcpu& vcpu : vcpus_) {
    if (paused) paused = vcpu.complete_exit();
  }
  if (!paused) workers_.resume();  // it did not take place
  return paused;
}

Result<void> TinyVmm::save_state(ferry::StateWriter& out) {
  for (std::size_t index = 0; index < vcpus_.size(); ++index) {
    FERRY_TRY(vcpus_[index].save(out, section_of(index)));
  }
  workers_.save(out);
  return {};
}

Result<void> TinyVmm::load_state(ferry::StateReader& in) {
  std::size_t loaded = 0;
  while (const auto section = FERRY_TRY(in.next())) {
    if (loaded < vcpus_.size() && section->name == section_of(loaded) && section->version == 1) {
      FERRY_TRY(vcpus_[loaded++].load(in));
    } else if (section->name == Workers::k_section && section->version == 1) {
      FERRY_TRY(workers_.load(in));
    } else {
      return in.refuse("not known here; have both sides the same --vcpus?");
    }
  }
  if (loaded == vcpus_.size()) return {};
  return ferry::fail(Errc::guest, "the guest that comes has fewer vCPUs",
                     "give both sides the same --vcpus");
}

Result<Figures> TinyVmm::figures() {
  Figures figures;
  workers_.add_to(figures);
  for (const Vcpu& vcpu : vcpus_) {
    const kvm_regs registers = FERRY_TRY(vcpu.registers());
    figures.errors += registers.r11 + count_wrong(ram_, walk_in(registers));
  }
  return figures;
}

}  // namespace example
