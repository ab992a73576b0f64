// SPDX-License-Identifier: EUPL-1.2

// Package deed does what may take two people: raise an alarm, erase a person, grant a role, set the policy.
//
// # Terms
//
//   - A Deed (see package access) is one of those four. A Desk is where one asks for it: the portal and the API use the same
//     desk, so that neither forgets the rule.
//   - An Outcome is what came of asking: either the deed is done, or it waits for a second person as an access.Approval.
//   - The arguments of a deed are canonical JSON: the same wish, written on two sides of a cut, has the same bytes, so that
//     the page of approvals can show that somebody else wants the same. They hold ids and an alarm's text, never a name.
//
// # Life of a deed
//
//	asked ──nobody else needed──► done
//	  └──two people needed──► pending ──Approve by another person──► done
//	                             └──Refuse, expiry──► nothing
//
// Approving carries the deed out then and there. What came of it is in the approval; if it fails nothing is approved and the
// request stays pending.
//
// # Invariants
//
//   - Nobody alarms beyond the units that their right is bound to: neither who asks nor who approves.
//   - An alarm that took two people names the one who asked as its actor; the approval names the other.
//   - What is carried out is what was asked: the arguments are read from the approval, not from the approver's request.
package deed
