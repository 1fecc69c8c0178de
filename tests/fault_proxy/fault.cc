#include "tests/fault_proxy/fault.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <random>

#include "base/escape.h"

namespace ferry::test {
namespace {

using Act = Fault::Act;

constexpr std::array<std::string_view, 5> k_acts = {"flip", "cut", "stall", "delay", "reorder"};

// A session's first words, and most of what a small one says on its control channel.
constexpr std::uint64_t k_early_bytes = 1024;
constexpr unsigned k_most_delay_ms = 400;

std::unexpected<Error> wrong(std::string_view text) {
  return fail(Errc::usage, "parse fault " + in_quotes(text),
              "write flip:CONNECTION:up|down:OFFSET:BIT, cut:C:D:O, stall:C:D:O, delay:C:D:O:MS or "
              "reorder:COUNT");
}

std::vector<std::string_view> split(std::string_view text, char mark) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t at = text.find(mark);
    parts.push_back(text.substr(0, at));
    if (at == text.npos) return parts;
    text.remove_prefix(at + 1);
  }
}

template <class Number>
bool read(std::string_view digits, Number& number) {
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return error == std::errc{} && end == digits.data() + digits.size();
}

bool has_amount(Act act) { return act == Act::flip || act == Act::delay; }

Act act_of(std::uint64_t draw) {
  // Of a hundred. Stalls are few: each costs a time-out.
  if (draw < 45) return Act::flip;
  if (draw < 70) return Act::cut;
  if (draw < 78) return Act::stall;
  if (draw < 90) return Act::delay;
  return Act::reorder;
}

}  // namespace

std::string to_text(const Fault& fault) {
  const std::string_view act = k_acts[static_cast<std::size_t>(fault.act)];
  if (fault.act == Act::reorder) return fmt::format("{}:{}", act, fault.amount);
  const std::string place =
      fmt::format("{}:{}:{}:{}", act, fault.connection,
                  fault.direction == Direction::up ? "up" : "down", fault.offset);
  return has_amount(fault.act) ? fmt::format("{}:{}", place, fault.amount) : place;
}

Result<Fault> parse_fault(std::string_view text) {
  const std::vector<std::string_view> parts = split(text, ':');
  const auto act = std::ranges::find(k_acts, parts[0]);
  if (act == k_acts.end()) return wrong(text);
  Fault fault{.act = static_cast<Act>(act - k_acts.begin())};
  if (fault.act == Act::reorder) {
    if (parts.size() != 2 || !read(parts[1], fault.amount)) return wrong(text);
    return fault;
  }
  if (parts.size() != (has_amount(fault.act) ? 5 : 4)) return wrong(text);
  if (parts[2] != "up" && parts[2] != "down") return wrong(text);
  fault.direction = parts[2] == "up" ? Direction::up : Direction::down;
  if (!read(parts[1], fault.connection) || !read(parts[3], fault.offset)) return wrong(text);
  if (has_amount(fault.act) && !read(parts[4], fault.amount)) return wrong(text);
  if (fault.act == Act::flip && fault.amount > 7) return wrong(text);
  return fault;
}

std::string to_text(const std::vector<Fault>& faults) {
  std::string text;
  for (const Fault& fault : faults) text += (text.empty() ? "" : ",") + to_text(fault);
  return text;
}

Result<std::vector<Fault>> parse_faults(std::string_view text) {
  std::vector<Fault> faults;
  if (text.empty()) return faults;
  for (const std::string_view part : split(text, ',')) {
    faults.push_back(FERRY_TRY(parse_fault(part)));
  }
  return faults;
}

std::vector<Fault> faults_of(std::uint64_t seed, unsigned lanes, std::uint64_t bytes) {
  // No distributions of the standard library: they differ from one to another.
  std::mt19937_64 random(seed);
  std::vector<Fault> faults(random() % 5 == 0 ? 2 : 1);
  for (Fault& fault : faults) {
    fault.act = act_of(random() % 100);
    const std::uint64_t connection = random() % (lanes + 1);
    const std::uint64_t up = random() % 3;
    const std::uint64_t within = random() % 2 == 0 ? k_early_bytes : bytes;
    const std::uint64_t offset = random() % within;
    const std::uint64_t amount = random();
    if (fault.act == Act::reorder) {
      fault.amount = 2 + static_cast<unsigned>(amount % 2);
      continue;
    }
    fault.connection = static_cast<unsigned>(connection);
    fault.direction = up > 0 ? Direction::up : Direction::down;
    // A control channel says little, and a page channel's receiver less.
    const bool little = connection == 0 || fault.direction == Direction::down;
    fault.offset = little ? offset % k_early_bytes : offset;
    if (fault.act == Act::flip) fault.amount = static_cast<unsigned>(amount % 8);
    if (fault.act == Act::delay) fault.amount = static_cast<unsigned>(amount % k_most_delay_ms);
  }
  return faults;
}

}  // namespace ferry::test
