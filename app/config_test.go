// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
)

func alarmToAll(text string) api.AlarmDraft {
	return api.AlarmDraft{TextDE: text, Mode: event.Exercise, Audience: directory.Audience{Everyone: true}}
}

func fileMode(t *testing.T, data, name string) os.FileMode {
	t.Helper()
	info, err := os.Stat(filepath.Join(data, name))
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestTheSampleIsWhatIsCommitted(t *testing.T) {
	path := filepath.Join("testdata", "config.sample.yaml")
	if *update {
		if err := os.WriteFile(path, []byte(SampleConfig()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), SampleConfig()); diff != "" {
		t.Errorf("the sample has changed; if that is meant: go test ./app -run Sample -update\n%s", diff)
	}
}

func TestEveryKeyIsDocumented(t *testing.T) {
	plain := regexp.MustCompile(`^[a-z][a-z_]*$`)
	eachField(reflect.TypeFor[Config](), func(f reflect.StructField, _ int) {
		if doc := f.Tag.Get("doc"); len(doc) < 12 || !strings.HasSuffix(doc, ".") {
			t.Errorf("%s is documented as %q", f.Name, doc)
		}
		if key := f.Tag.Get("yaml"); !plain.MatchString(key) {
			t.Errorf("%s has the key %q", f.Name, key)
		}
	})
}

// uncommented is the sample with every key set to its sample value.
func uncommented() string {
	var b strings.Builder
	for line := range strings.Lines(SampleConfig()) {
		text := strings.TrimLeft(line, " ")
		if strings.HasPrefix(text, "#") && !strings.HasPrefix(text, "# ") {
			b.WriteString(line[:len(line)-len(text)] + text[1:])
		}
	}
	return b.String()
}

func TestTheSampleUncommentedIsReadable(t *testing.T) {
	text := strings.Replace(uncommented(), "    plain: false\n", "", 1)
	if _, err := ParseConfig([]byte(text)); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestAConfigurationIsTheSameAfterItsFile(t *testing.T) {
	c := Config{Name: "Nord", Operator: "Nordwolke eG", Box: true,
		Portal: Portal{Listen: "127.0.0.1:8600", URL: "https://alarm.example", Names: []string{"alarm.example"}, TLSCert: "c.pem", TLSKey: "k.pem"},
		Peer:   Peer{Listen: ":8601", Advertise: []string{"nord.example:8601"}, DialFrom: "192.0.2.1"},
		Disk:   Disk{ReserveMiB: 512, KeyFile: "k", ReadModel: "memory"}, Identity: Identity{SessionIdle: time.Minute, SessionMax: time.Hour,
			OIDC: []OIDC{{Authority: "lk-nordtal", Issuer: "https://login.example", ClientID: "holdfast", SecretFile: "s", Claim: "email"}}}, Alarm: Alarm{TakeoverAfter: 3 * time.Second, Workers: 8},
		Channels: Channels{SMS: &SMS{URL: "https://sms.example", Method: "PUT", Headers: map[string]string{"X-A": "b"}, Body: "{}", Encoding: "form",
			Success: []int{202}, IdempotencyHeader: "X-Key", Auth: "basic", User: "u", SecretFile: "s", Ref: "id"},
			Email: &Email{Server: "mail.example:465", From: "alarm@example", Username: "u", PasswordFile: "p", Security: "tls"}}}
	data := t.TempDir()
	if err := WriteConfig(data, c); err != nil {
		t.Fatal(err)
	}
	got, err := LoadConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, got); diff != "" {
		t.Error(diff)
	}
	wantFault(t, WriteConfig(data, c), "config.exists", "there is a site in this folder already", "another folder")
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(SampleConfig()))
	f.Add([]byte(uncommented()))
	f.Add([]byte("name: Nord\noperator: X\nportal: {listen: ':1', url: 'http://x', plain_http: true}\npeer: {listen: ':2'}\n"))
	f.Add([]byte("name: [\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseConfig(b)
		if err == nil {
			if err := c.check(); err != nil {
				t.Errorf("what was taken is refused: %v", err)
			}
			return
		}
		if f := fault.Of(err); f.Kind != fault.Invalid || f.WayOut == "" {
			t.Errorf("refused without a way out: %v", err)
		}
	})
}
