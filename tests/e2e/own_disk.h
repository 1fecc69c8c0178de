// File systems of a test's own.
#pragma once

#include <filesystem>
#include <string>

#include "tests/image/temp_folder.h"

namespace ferry {

/// Mounted while this lives. False where nobody may mount here, or something that it takes is not
/// installed: the test that wants it is skipped.
class OwnDisk {
 public:
  /// `script` makes it in a folder of its own: what it mounts is `disk` there and, beneath that,
  /// `backing`.
  explicit OwnDisk(const std::string& script);
  OwnDisk(const OwnDisk&) = delete;
  OwnDisk& operator=(const OwnDisk&) = delete;
  ~OwnDisk();

  explicit operator bool() const { return made_; }
  std::filesystem::path path() const { return folder_ / "disk"; }
  /// In that folder; did it succeed?
  bool run(const std::string& script);

 private:
  TempFolder folder_;
  bool made_;
};

/// A tmpfs of 16 MiB.
class SmallDisk : public OwnDisk {
 public:
  SmallDisk() : OwnDisk("mount -t tmpfs -o size=16m ferry-test disk") {}
};

/// An ext4 of 32 MiB, which past the page cache is full in another way.
class SmallExt4 : public OwnDisk {
 public:
  SmallExt4()
      : OwnDisk(
            "truncate -s 32M image && /sbin/mkfs.ext4 -q image && mount -o loop image disk && "
            "rmdir disk/lost+found") {}
};

/// An XFS of 400 MiB, whose files can share their storage.
class SharingDisk : public OwnDisk {
 public:
  SharingDisk()
      : OwnDisk(
            "truncate -s 400M image && /sbin/mkfs.xfs -q -m reflink=1 image && "
            "mount -o loop image disk") {}
};

/// An ext4 whose disk is a file in a tmpfs that has no room for all of it: what the file system
/// takes to be a disk of 64 MiB fails when more than a part of it has been written.
class FailingDisk : public OwnDisk {
 public:
  FailingDisk()
      : OwnDisk(
            "mkdir backing && mount -t tmpfs -o size=24m ferry-test backing && "
            "truncate -s 64M backing/image && "
            "/sbin/mkfs.ext4 -q -O ^has_journal backing/image && "
            "mount -o loop,errors=continue backing/image disk && rmdir disk/lost+found") {}
  /// From here on what was written cannot be read either.
  void lose() { run("echo 3 > /proc/sys/vm/drop_caches; truncate -s 2M backing/image"); }
};

}  // namespace ferry
