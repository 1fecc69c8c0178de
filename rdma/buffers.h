// The memory that messages are sent from and come to.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "ferry/result.h"
#include "rdma/message.h"

namespace ferry {

/// One piece of memory, registered once: buffers to receive, buffers for bytes to send, and small
/// ones for words, which so need not wait for bytes. A buffer to send is free again when the
/// request that used it has ended.
class RdmaBuffers {
 public:
  static constexpr std::uint32_t k_message_bytes = 16 * 1024;
  static constexpr std::uint32_t k_credits = 32;
  static constexpr std::uint32_t k_receives = k_credits + k_spare_buffers;
  static constexpr std::uint32_t k_slots = 16;
  static constexpr std::uint32_t k_words = 8;
  static constexpr std::uint32_t k_word_bytes = 64;
  /// Every so many messages one says that it has ended, and with it those before.
  static constexpr std::uint32_t k_signal_each = 4;

  /// Errc::system.
  static Result<RdmaBuffers> create();

  std::span<std::byte> memory() const noexcept { return {memory_.get(), k_bytes}; }

  std::byte* receive(std::uint32_t buffer) const noexcept {
    return memory_.get() + std::size_t{buffer} * k_message_bytes;
  }

  bool has_slot(std::uint64_t ended) const noexcept {
    return slots_[next_slot_ % k_slots] <= ended;
  }
  /// Of k_message_bytes. Used by the request `number`.
  std::byte* take_slot(std::uint64_t number) noexcept {
    const std::size_t slot = next_slot_++ % k_slots;
    slots_[slot] = number;
    return memory_.get() + k_slots_at + slot * k_message_bytes;
  }
  bool signals_slot() const noexcept { return next_slot_ % k_signal_each == 0; }

  bool has_word(std::uint64_t ended) const noexcept {
    return words_[next_word_ % k_words] <= ended;
  }
  std::byte* take_word(std::uint64_t number) noexcept {
    const std::size_t word = next_word_++ % k_words;
    words_[word] = number;
    return memory_.get() + k_words_at + word * k_word_bytes;
  }

 private:
  static constexpr std::size_t k_slots_at = std::size_t{k_receives} * k_message_bytes;
  static constexpr std::size_t k_words_at = k_slots_at + std::size_t{k_slots} * k_message_bytes;
  static constexpr std::size_t k_bytes = k_words_at + std::size_t{k_words} * k_word_bytes;

  struct FreeBytes {
    void operator()(std::byte* bytes) const noexcept;
  };

  RdmaBuffers() = default;

  std::unique_ptr<std::byte, FreeBytes> memory_;
  std::array<std::uint64_t, k_slots> slots_{};  // the request that used each last
  std::array<std::uint64_t, k_words> words_{};
  std::uint64_t next_slot_ = 0;
  std::uint64_t next_word_ = 0;
};

}  // namespace ferry
