// SPDX-License-Identifier: EUPL-1.2

package localstore

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeMachine is a machine whose /proc and /sys are folders of the test.
type fakeMachine struct {
	machine
	t    *testing.T
	dir  string // the folder asked about
	root string
}

func newMachine(t *testing.T) *fakeMachine {
	root, err := filepath.EvalSymlinks(t.TempDir())
	ok(t, err)
	f := &fakeMachine{machine{filepath.Join(root, "proc"), filepath.Join(root, "sys")}, t, filepath.Join(root, "with space", "data"), root}
	ok(t, os.MkdirAll(f.dir, 0o700))
	return f
}

func (f *fakeMachine) write(path, content string) {
	f.t.Helper()
	path = filepath.Join(f.root, path)
	ok(f.t, os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content+"\n"), 0o600))
}

// mounts writes a mountinfo with the root and what the folder is on.
func (f *fakeMachine) mounts(kind, device, source string) {
	point := strings.ReplaceAll(filepath.Dir(f.dir), " ", `\040`)
	f.write("proc/self/mountinfo", fmt.Sprintf("1 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"+
		"2 1 8:9 / %s rw - ext4 /dev/older rw\n3 1 %s / %s rw,noatime shared:7 master:1 - %s %s rw\n4 1 8:9 / %s rw - ext4 /dev/other rw\nnonsense",
		point, device, point, kind, source, point+"x"))
}

// block makes a device: its folder, its entries under dev/block and class/block, and what lies below it.
func (f *fakeMachine) block(name, number string, below ...string) string {
	f.t.Helper()
	dir := filepath.Join(f.sys, "devices", name)
	ok(f.t, os.MkdirAll(filepath.Join(dir, "slaves"), 0o700))
	for _, link := range []string{filepath.Join("dev", "block", number), filepath.Join("class", "block", filepath.Base(name))} {
		ok(f.t, os.MkdirAll(filepath.Dir(filepath.Join(f.sys, link)), 0o700), os.Symlink(dir, filepath.Join(f.sys, link)))
	}
	for _, b := range below {
		ok(f.t, os.Symlink(filepath.Join(f.sys, "class", "block", b), filepath.Join(dir, "slaves", b)))
	}
	return filepath.Join("sys", "devices", name)
}

func TestWhetherAFolderIsEncrypted(t *testing.T) {
	for _, tt := range []struct {
		name             string
		set              func(f *fakeMachine)
		encrypted, known bool
		why              string
	}{
		{"in memory", func(f *fakeMachine) { f.mounts("tmpfs", "0:40", "tmpfs") }, true, true, "memory"},
		{"a plain disk", func(f *fakeMachine) { f.mounts("ext4", "8:0", "/dev/sda"); f.block("sda", "8:0") }, false, true, "no encryption"},
		{"a partition", func(f *fakeMachine) {
			f.mounts("ext4", "8:2", "/dev/sda2")
			f.block("sda", "8:0")
			f.write(f.block("sda/sda2", "8:2")+"/partition", "2")
		}, false, true, "no encryption"},
		{"dm-crypt", func(f *fakeMachine) {
			f.mounts("xfs", "253:0", "/dev/mapper/data")
			f.block("sda", "8:0")
			f.write(f.block("dm-0", "253:0", "sda")+"/dm/uuid", "CRYPT-LUKS2-0011-data")
		}, true, true, "dm-crypt"},
		{"LVM on dm-crypt", func(f *fakeMachine) {
			f.mounts("ext4", "253:1", "/dev/mapper/vg-data")
			f.write(f.block("dm-0", "253:0")+"/dm/uuid", "CRYPT-LUKS2-0011-data")
			f.write(f.block("dm-1", "253:1", "dm-0")+"/dm/uuid", "LVM-abc")
		}, true, true, "dm-crypt"},
		{"a mirror of which one half is plain", func(f *fakeMachine) {
			f.mounts("ext4", "9:0", "/dev/md0")
			f.write(f.block("dm-0", "253:0")+"/dm/uuid", "CRYPT-LUKS2-0011-a")
			f.block("sdb", "8:16")
			f.block("md0", "9:0", "dm-0", "sdb")
		}, false, true, "no encryption"},
		{"a partition of a mirror on dm-crypt", func(f *fakeMachine) {
			f.mounts("ext4", "259:1", "/dev/md0p1")
			f.write(f.block("dm-0", "253:0")+"/dm/uuid", "CRYPT-LUKS2-0011-a")
			f.block("md0", "9:0", "dm-0")
			f.write(f.block("md0/md0p1", "259:1")+"/partition", "1")
		}, true, true, "dm-crypt"},
		{"btrfs on dm-crypt", func(f *fakeMachine) {
			f.mounts("btrfs", "0:55", "/dev/mapper/data")
			dev := f.block("dm-3", "253:3")
			f.write(dev+"/dm/uuid", "CRYPT-LUKS2-0011-data")
			f.write(dev+"/dm/name", "data")
		}, true, true, "dm-crypt"},
		{"btrfs on a plain disk", func(f *fakeMachine) { f.mounts("btrfs", "0:55", "/dev/sdc"); f.block("sdc", "8:32") }, false, true, "no encryption"},
		{"a file on an encrypted file system", func(f *fakeMachine) {
			f.mounts("ext4", "7:0", "/dev/loop0")
			f.write(f.block("loop0", "7:0")+"/loop/backing_file", "/dev/null")
			f.write("proc/self/mountinfo", mountinfo(f)+"5 1 0:9 / /dev rw - tmpfs x rw")
		}, true, true, "memory"},
		{"a loop of devices", func(f *fakeMachine) {
			f.mounts("ext4", "253:0", "/dev/dm-0")
			f.block("dm-0", "253:0", "dm-1")
			f.block("dm-1", "253:1", "dm-0")
		}, false, false, "too many layers"},
		{"gocryptfs", func(f *fakeMachine) { f.mounts("fuse.gocryptfs", "0:50", "/x") }, true, true, "encrypts"},
		{"a container's layers", func(f *fakeMachine) { f.mounts("overlay", "0:50", "overlay") }, false, false, "overlay"},
		{"the network", func(f *fakeMachine) { f.mounts("nfs4", "0:50", "host:/x") }, false, false, "nfs4"},
		{"ZFS", func(f *fakeMachine) { f.mounts("zfs", "0:50", "tank/data") }, false, false, "zfs"},
		{"a device that nobody tells about", func(f *fakeMachine) { f.mounts("ext4", "8:77", "/dev/../etc") }, false, false, "no device"},
		{"no mountinfo", func(*fakeMachine) {}, false, false, "mounted where"},
		{"nothing in mountinfo", func(f *fakeMachine) { f.write("proc/self/mountinfo", "") }, false, false, "mounted where"},
		{"no folder", func(f *fakeMachine) { f.dir += "/none" }, false, false, "looked at"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newMachine(t)
			tt.set(f)
			encrypted, known, why := f.encrypted(f.dir, 0)
			if encrypted != tt.encrypted || known != tt.known || !strings.Contains(why, tt.why) {
				t.Errorf("got %v, %v, %q", encrypted, known, why)
			}
		})
	}
}

func mountinfo(f *fakeMachine) string {
	b, err := os.ReadFile(filepath.Join(f.proc, "self", "mountinfo"))
	ok(f.t, err)
	return string(b)
}

// On a real machine it must at least not fail, and say why.
func TestThisMachineIsAsked(t *testing.T) {
	encrypted, known, why := Encrypted(t.TempDir())
	t.Log(encrypted, known, why)
	if why == "" || encrypted && !known {
		t.Error(encrypted, known, why)
	}
}

func FuzzMountOf(f *testing.F) {
	f.Add("36 35 98:0 / /mnt rw - ext4 /dev/root rw\n", "/mnt/x")
	f.Fuzz(func(t *testing.T, text, path string) {
		at, err := mountOf(strings.NewReader(text), path)
		if err == nil && !contains(at.point, path) {
			t.Errorf("%q does not contain %q", at.point, path)
		}
	})
}
