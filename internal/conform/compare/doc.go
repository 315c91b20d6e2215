// Package compare plays one conversation on several kernels and tells who answers what. It knows none of them: a
// scenario is turned into what any kernel can be asked for, and its messages are written anew in the dialect of each.
package compare
