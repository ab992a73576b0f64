// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"codeberg.org/holdfast/holdfast/access"
	"codeberg.org/holdfast/holdfast/api"
	"codeberg.org/holdfast/holdfast/cli"
	"codeberg.org/holdfast/holdfast/guest"
)

const local = "local"

// commandTable says of every command by which routes it works; who may use those is in routeTable. "local" commands talk to no
// running site: whoever runs them has the folder, or a file.
var commandTable = []struct{ command, routes string }{
	{"account invite {name}", "GET /people, POST /accounts/invitations"},
	{"account list", "GET /accounts"},
	{"account remind {name}", "GET /people, POST /accounts/reminders"},
	{"account remove-passkey {name} {id}", "DELETE /accounts/{person}/passkeys/{passkey}, GET /people"},
	{"account show {name}", "GET /accounts/{person}, GET /people"},
	{"account signout {name}", "DELETE /accounts/{person}/sessions, GET /people"},
	{"account vouch {name} ABCDEFGH", "GET /people, POST /people/{person}/vouch"},
	{"admit {site}", "GET /status, POST /sites/{site}/endorsement"},
	{"alarm all-clear {id}", "POST /alarms/{alarm}/all-clear"},
	{"alarm board {id}", "GET /alarms/{alarm}"},
	{"alarm call {id}", "POST /alarms/{alarm}/call"},
	{"alarm cancel {id}", "POST /alarms/{alarm}/cancel"},
	{"alarm list", "GET /alarms"},
	{"alarm raise --everyone --mode test --text-de Probe", "POST /alarms"},
	{"approval approve {id} --yes", "POST /approvals/{approval}/approve"},
	{"approval list", "GET /approvals"},
	{"approval refuse {id}", "POST /approvals/{approval}/refuse"},
	{"audit export --out {file}", "GET /audit/export"},
	{"audit list", "GET /audit"},
	{"audit verify {file}", local},
	{"authority add kv-neu --name-de Neu --name-en New", "GET /status, POST /authorities"},
	{"authority allow {authority} {site}", "GET /status, PUT /authorities/{authority}/sites/{site}"},
	{"authority forbid {authority} {site}", "DELETE /authorities/{authority}/sites/{site}, GET /status"},
	{"bench nichts", local},
	{"config check", local},
	{"config sample", local},
	{"demo --help", local},
	{"directory erase {person} --yes", "POST /people/{person}/erase"},
	{"directory functions", "GET /functions"},
	{"directory import {table}", "POST /imports"},
	{"directory people", "GET /people"},
	{"directory units", "GET /units"},
	{"erasures", "GET /erasures"},
	{"guest away {guest}", "DELETE /guests/{guest}"},
	{"guest invite Dolmetscherin --alarm {alarm}", "POST /guests"},
	{"guest list", "GET /guests"},
	{"init --help", local},
	{"invite", "POST /invitations"},
	{"join {id}", local},
	{"keys held", "GET /keys"},
	{"keys reject {site}", "GET /keys, GET /status, POST /keys/{site}/reject"},
	{"keys release {site}", "GET /keys, GET /status, POST /keys/{site}/release"},
	{"log check", "GET /status, POST /scrub"},
	{"merges", "GET /merges"},
	{"person erase {person} --yes", "POST /people/{person}/erase"},
	{"person export {person}", "POST /people/{person}/export"},
	{"policy set --provider off", "GET /policy, PUT /policy"},
	{"policy show", "GET /policy"},
	{"program list", "GET /programs"},
	{"program make Leitstelle --scope alarm.see", "POST /programs"},
	{"program withdraw {id}", "DELETE /programs/{program}"},
	{"role grant auditor --person {name}", "GET /people, POST /roles"},
	{"role list", "GET /roles"},
	{"role withdraw {id}", "DELETE /roles/{grant}"},
	{"serve --help", local},
	{"signin-link", "POST /sign-in-links"},
	{"signin-link --authority {authority} --person {name}", "GET /people, POST /people/{person}/sign-in-links"},
	{"site remove {site} --yes", "GET /status, POST /sites/{site}/removal"},
	{"site remove {site} --yes", "GET /status, POST /sites/{site}/removal"},
	{"status", "GET /status"},
	{"troubles", "GET /troubles"},
}

// recorder stands in front of a site's control socket and notes by which routes a command works.
type recorder struct {
	data string
	mux  *http.ServeMux
	mu   sync.Mutex
	used []string
}

func (h *house) record() *recorder {
	t := h.w.t
	t.Helper()
	r := &recorder{data: t.TempDir(), mux: http.NewServeMux()}
	for _, route := range api.New(h.site.apiConfig(nil)).Routes() {
		r.mux.HandleFunc(route.Pattern, func(http.ResponseWriter, *http.Request) {})
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.Out.URL.Scheme, p.Out.URL.Host = "http", "site" },
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", filepath.Join(h.data, api.SocketFile))
		}}}
	ln, err := net.Listen("unix", filepath.Join(r.data, api.SocketFile))
	h.w.must(err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, pattern := r.mux.Handler(req)
		r.mu.Lock()
		r.used = append(r.used, pattern)
		r.mu.Unlock()
		proxy.ServeHTTP(w, req)
	})}
	go func() { _ = server.Serve(ln) }()
	t.Cleanup(func() { _ = server.Close() })
	config, err := os.ReadFile(filepath.Join(h.data, ConfigFile))
	h.w.must(err)
	h.w.must(os.WriteFile(filepath.Join(r.data, ConfigFile), config, 0o600))
	return r
}

// take returns the routes that were used since the last time, without what all or many share.
func (r *recorder) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	used := r.used
	r.used = nil
	if len(used) == 0 {
		return local
	}
	for i, pattern := range used {
		pattern = strings.Replace(pattern, "/api/v1", "", 1)
		if !strings.HasSuffix(pattern, "/sites/{site}") {
			pattern = strings.Replace(pattern, "/authorities/{authority}/", "/", 1)
		}
		used[i] = pattern
	}
	slices.Sort(used)
	return strings.Join(slices.Compact(used), ", ")
}

// commands walks the tree of commands by what each says of itself, and returns those that do something.
func commands(t *testing.T, path ...string) (leaves []string) {
	t.Helper()
	var out, said bytes.Buffer
	if code := cli.Run(t.Context(), append(slices.Clone(path), "--help"), Commands(), strings.NewReader(""), &out, &said); code != 0 {
		t.Fatalf("%v --help ends with %d: %s", path, code, said.String())
	}
	_, list, group := strings.Cut(out.String(), "Available Commands:\n")
	if !group {
		return []string{strings.Join(path, " ")}
	}
	for line := range strings.Lines(list) {
		name, _, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			break
		}
		if name != "help" && name != "completion" {
			leaves = append(leaves, commands(t, append(slices.Clone(path), name)...)...)
		}
	}
	return leaves
}

func TestPermissionOfEveryCommand(t *testing.T) {
	h := newHouse(t)
	_, _, _, err := h.site.guests.Invite(t.Context(), h.site.console(), nordtal, guest.Draft{Name: "Gast", Incident: string(h.alarm)})
	h.w.must(err)
	folder := t.TempDir()
	people := filepath.Join(folder, "people.csv")
	h.w.must(os.WriteFile(people, table(erika), 0o600))
	fill := strings.NewReplacer("{person}", h.who['m'].ID, "{name}", "Rohrweihe", "{id}", anID, "{site}", h.w.sites[1].name, "{authority}", string(nordtal),
		"{table}", people, "{file}", filepath.Join(folder, "audit.export"), "{guest}", h.who['g'].ID, "{alarm}", strings.TrimPrefix(string(h.alarm), "alarm/"))
	r, seen := h.record(), make(map[string]bool)
	leaves := commands(t)
	for _, row := range commandTable {
		var args []string
		for _, word := range strings.Fields(row.command) {
			args = append(args, fill.Replace(word))
		}
		name := leafOf(leaves, row.command)
		if name == "" {
			t.Errorf("there is no command %q", row.command)
		}
		seen[name] = true
		args = append(args, "--data", r.data)
		if help(t, name, "--authority string") && name != "signin-link" {
			args = append(args, "--authority", string(nordtal))
		}
		said, _, err := holdfast(t, args...)
		if got := r.take(); got != row.routes {
			t.Errorf("%q works by %q, its row says %q: %.300s %v", row.command, got, row.routes, said, err)
		}
	}
	for _, name := range leaves {
		if !seen[name] {
			t.Errorf("the command %q has no row", name)
		}
	}
	t.Logf("%d commands", len(leaves))
}

// leafOf returns the command that the words call.
func leafOf(leaves []string, words string) string {
	for _, name := range leaves {
		if words == name || strings.HasPrefix(words, name+" ") {
			return name
		}
	}
	return ""
}

func help(t *testing.T, command, says string) bool {
	t.Helper()
	var out bytes.Buffer
	_ = cli.Run(t.Context(), append(strings.Fields(command), "--help"), Commands(), strings.NewReader(""), &out, &out)
	return strings.Contains(out.String(), says)
}

// With a token a command may do what its token may, and no more.
func TestPermissionOfACommandIsThatOfItsToken(t *testing.T) {
	h := newHouse(t)
	token := filepath.Join(t.TempDir(), "token")
	h.w.must(os.WriteFile(token, []byte(h.token+"\n"), 0o600))
	remote := []string{"--url", "http://" + h.portal, "--token-file", token}
	run := func(args ...string) (int, error) {
		_, code, err := holdfast(t, append(args, remote...)...)
		return code, err
	}
	if code, err := run("directory", "people", "--authority", string(nordtal)); code != 0 {
		t.Errorf("it may not see people: %v", err)
	}
	for _, args := range [][]string{{"role", "grant", "administrator", "--person", h.who['m'].ID, "--authority", string(nordtal)},
		{"person", "erase", "--authority", string(nordtal), h.who['m'].ID, "--yes"}, {"policy", "set", "--provider", "off", "--authority", string(nordtal)},
		{"program", "list", "--authority", string(nordtal)}, {"account", "signout", h.who['m'].ID, "--authority", string(nordtal)}, {"log", "check"}} {
		if code, err := run(args...); code != 4 {
			t.Errorf("%v ends with %d: %v", args, code, err)
		}
	}
	_, foreignErr := run("directory", "people", "--authority", string(foreign))
	_, nowhereErr := run("directory", "people", "--authority", string(nowhere))
	wantFault(t, foreignErr, access.ErrNoAuthority.Code, "no data of such an authority", "short name")
	if foreignErr.Error() != nowhereErr.Error() {
		t.Errorf("%v\n%v", foreignErr, nowhereErr)
	}
}
