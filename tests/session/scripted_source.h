// A source by hand: it does nothing by itself, and keeps its transcript as an honest one would.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ferry/memory.h"
#include "tests/session/memory_guest.h"
#include "tests/session/peer.h"
#include "wire/control.h"
#include "wire/packet.h"

namespace ferry::test {

class ScriptedSource {
 public:
  ScriptedSource(Runtime& runtime, std::string uri, int session = 1);

  /// Says Hello on the control channel, which must be accepted.
  void greet();
  /// Up to the point where packets may come.
  void open(const Layout& layout, std::uint16_t channels = 1);
  /// Connects a page channel and says its Hello.
  wire::HelloAck connect_page(std::uint16_t index);

  /// Announces another channel for a lane, and connects it. The lane goes on there; the one that it
  /// had is finished, unless it is given back.
  void replace(std::uint16_t lane);
  Peer replace_and_keep(std::uint16_t lane);

  /// Packets of `round` on a channel. Only what is numbered and counted is filled in.
  bool packet(std::uint16_t channel, wire::PacketHeader header,
              std::span<const std::byte> payload = {});
  bool data(std::uint16_t channel, const PageRun& run, std::span<const std::byte> bytes);
  bool zeros(std::uint16_t channel, const PageRun& run);
  bool end_round(std::uint16_t channel);

  /// What a NAK adds to the transcript.
  void heard(const wire::Nak& nak);

  /// All memory of a guest in one round, on the first channel, and its acknowledgement.
  void send_all(const Mappings& memory);
  /// Up to READY.
  void prepare();
  /// Up to STARTED.
  void commit();
  /// A migration as it should be.
  void migrate(const Mappings& memory);

  Peer& control() { return control_; }
  Peer& page(std::uint16_t index) { return lanes_.at(index).peer; }
  wire::Transcript transcript() const;
  wire::Hello hello(wire::Role role, std::uint16_t index = 0) const;

  std::uint32_t round = 0;

 private:
  struct Lane {
    Peer peer;
    wire::LaneTranscript transcript{};
  };
  Runtime& runtime_;
  const std::string uri_;
  const wire::SessionId session_;
  Peer control_;
  std::vector<Lane> lanes_;
};

/// A header for one run of data, with its checksums.
wire::PacketHeader header_of(const PageRun& run, std::span<const std::byte> bytes);

}  // namespace ferry::test
