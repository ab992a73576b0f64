// SPDX-License-Identifier: EUPL-1.2

// Package directory knows the people of an authority: who they are, where they belong, which functions they hold, and
// how they are reached when the authority's own directory is gone.
//
// # Terms
//
//   - A Person (Beschäftigte) has a name, a language, the units they belong to and their reachability. A person may have
//     no login anywhere.
//   - Reachability (Erreichbarkeit) is the ordered list of channels of a person: SMS first, then e-mail. Whether a person
//     is available now is another matter and not in here.
//   - A Unit (Organisationseinheit) is a node of the authority's tree: Dezernat, Amt, Referat.
//   - A Function (Funktion im Stab: Leiter Stab, S1 to S6, Fachberater, Verbindungsperson) is held by persons in order,
//     and deputised (Stellvertretung) by persons in order. Function sets are the authority's own; S1 to S6 are only
//     recognised for sorting.
//   - An Audience says whom an alarm is for; resolving it yields each person once.
//
// # Facts
//
// All facts are of class register. Subjects are "person/ID", "unit/ID", "function/ID" and "erasure/ID" (of a person).
//
//	directory.PersonRecorded    who a person is: sealed fields, units        directory.PersonRemoved   not in the register any more
//	directory.PersonErased      the person's key is destroyed                 directory.UnitRecorded, directory.UnitRemoved
//	directory.FunctionRecorded, directory.FunctionRemoved                     directory.ErasureConfirmed a site has forgotten the person
//
// # Invariants
//
//   - No name, number or address stands in a log in clear. What belongs to a person is sealed with the person's own key
//     under the context "directory/person/ID"; names of units and functions are sealed with the authority's key
//     "register". IDs are keyed hashes of the source's key, so they do not tell who it is either.
//   - An ID is a function of the authority's key "id" and of the source's own key (objectGUID, entryUUID or a named
//     column). Importing the same file again therefore appends nothing, at whichever site.
//   - A person's key stays the same while the person changes: erasing it makes every earlier version unreadable.
//   - An erased person stays erased. A later import does not bring the person back, not even from another site.
//   - An erasure is complete when every site that the authority allows has confirmed it: that it holds the marks of all
//     keys of the person that are known, those of other domains too, and shows the person as erased. A key that comes to
//     light later opens it again. A site speaks for itself alone.
//   - An import speaks only for the people in the file. Absent people stay, unless pruning is asked for; pruning is
//     withheld if a refused line might have been one of them.
//   - Units are known by their path of names and functions by their name. Renaming one makes a new one, and the old one
//     goes with the next pruning import.
//
// The package's read model is in plain text and local to the machine: it can be thrown away and is built again from the
// logs and the keys. A person whose key has not arrived yet shows as NotYet, one whose key is destroyed as Erased.
package directory
