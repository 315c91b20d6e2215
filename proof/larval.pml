/*
 * The race for a LARVAL SA: two inbound packets, an UPDATE, and one way in which the SA ends. README.md ties each step to a line of code.
 *
 *	-DVARIANT=0	larval-unlocked: Solaris until 2008
 *	-DVARIANT=1	larval-window: illumos since then
 *	-DVARIANT=2	ours
 *	-DENDING=0..4	none, delete, flush, timeout, expire
 *	-DCOUNT		count schedules instead of looking for a fault: the path becomes part of the state, so that every one is walked
 *
 * Every atomic block with a name is what the code does between two named points. Nothing else is a step: a process that is done waits for ever.
 */

#define UNLOCKED (VARIANT == 0)
#define WINDOW   (VARIANT == 1)
#define OURS     (VARIANT == 2)

#define NONE    0
#define DELETE  1
#define FLUSH   2
#define TIMEOUT 3
#define EXPIRE  4

#define LARVAL 0
#define MATURE 1
#define DEAD   2

/* The SA. */
byte sa = LARVAL;
bool linked = true;	/* packets and requests find it */
bool keyed;		/* it has what packets need of its keys */
byte slot;		/* the packet that waits on it; 0: none */
bool orphaned;		/* a faulty FLUSH has unlinked it while it was LARVAL, which it still says it is */
bool taking;		/* larval-window: promoted, and about to have its slot emptied */

bool control;		/* the control lock is held */
bool updated;		/* the UPDATE will not look at the slot again */

/* What went wrong. */
bool lost, stranded, dead;

byte running = (ENDING == NONE -> 3 : 4);

#ifdef COUNT
int history;
byte steps;
c_decl {
	static long schedules, with_lost, with_stranded, with_dead, failing;
	static void report(void) {
		printf("%ld schedules, %ld failing: %ld stranded, %ld lost, %ld dead\n", schedules, failing, with_stranded, with_lost, with_dead);
	}
}
c_code {
	static void count(int l, int s, int d) {
		if (schedules++ == 0)
			atexit(report);
		with_lost += l; with_stranded += s; with_dead += d; failing += l || s || d;
	}
}
#define begin(who) history = (history << 2) | who; steps++
#define judge() c_code { count(now.lost, now.stranded, now.dead); }
#else
#define begin(who) skip
#define judge() assert(!lost && !stranded && !dead)
#endif

/* look ends every step: a packet on an SA that is promoted, which nobody will empty, is stranded. */
inline look() {
	if
	:: slot != 0 && sa == MATURE && updated -> stranded = true
	:: else
	fi
}

/* finish is the last thing a process does. What is held at rest, by an SA that is not LARVAL, is stranded too. */
inline finish() {
	look();
	running--;
	if
	:: running == 0 ->
		if
		:: slot != 0 && sa != LARVAL -> stranded = true
		:: else
		fi;
		judge()
	:: else
	fi
}

/* noSA drops a packet for want of an SA. It is lost if one was there. */
inline noSA() {
	if
	:: linked && sa != DEAD -> lost = true
	:: else
	fi
}

/* evict empties the slot for another packet. What was on it is lost if the SA has been promoted. */
inline evict() {
	if
	:: slot != 0 && sa == MATURE -> lost = true
	:: else
	fi;
	slot = 0
}

/* offer is the call that checks and stores; saw is the state it tells its caller. */
inline offer(id) {
	if
	:: UNLOCKED -> evict(); slot = id; saw = LARVAL
	:: !UNLOCKED && sa == LARVAL -> evict(); slot = id; saw = LARVAL
	:: WINDOW && sa != LARVAL -> saw = sa; evict()
	:: OURS && sa != LARVAL -> saw = sa
	fi
}

/* accept takes a packet into the SA's books, or refuses it. */
inline accept() {
	if
	:: sa == DEAD && !WINDOW -> noSA()
	:: sa == DEAD && WINDOW -> dead = true
	:: else
	fi
}

proctype packet(byte id) {
	byte saw;

	atomic { /* STEP packet lookup */
		begin(id - 1);
		if
		:: linked && sa == LARVAL -> look(); goto store
		:: linked && sa == MATURE -> look(); goto accepts
		:: else -> noSA(); finish(); goto end
		fi
	}
store:	atomic { /* STEP packet store */
		begin(id - 1);
		offer(id);
		look()
	}
	atomic { /* STEP packet stored */
		begin(id - 1);
		if
		:: saw == LARVAL ->
			if
			:: !OURS && (sa == DEAD || orphaned) -> slot = 0
			:: else
			fi;
			finish(); goto end
		:: saw == MATURE || (saw == DEAD && WINDOW && keyed) -> look(); goto accepts
		:: else -> noSA(); finish(); goto end
		fi
	}
accepts: atomic { /* STEP packet accept */
		begin(id - 1);
		accept();
		finish()
	}
end:	false
}

proctype update() {
	byte held;

	atomic { /* STEP update begin */
		!control;
		begin(2);
		if
		:: linked && sa == LARVAL -> keyed = true; control = true; look()
		:: else -> finish(); goto end
		fi;
		if
		:: UNLOCKED -> goto unlocked
		:: else
		fi
	}
	atomic { /* STEP update promote */
		begin(2);
		sa = MATURE;
		if
		:: OURS -> held = slot; slot = 0; updated = true
		:: WINDOW -> taking = true
		fi;
		control = false;
		look();
		if
		:: OURS -> goto drive
		:: else
		fi
	}
	atomic { /* STEP update take */
		begin(2);
		held = slot; slot = 0; taking = false; updated = true;
		look();
		goto drive
	}
unlocked: atomic { /* STEP update take, unlocked */
		begin(2);
		held = slot; slot = 0; updated = true;
		look()
	}
	atomic { /* STEP update taken, unlocked */
		begin(2);
		sa = MATURE;
		control = false;
		look()
	}
drive:	atomic { /* STEP update drive */
		begin(2);
		if
		:: held != 0 && linked && sa == MATURE -> look()
		:: held != 0 && !(linked && sa == MATURE) -> noSA(); finish(); goto end
		:: held == 0 -> finish(); goto end
		fi
	}
	atomic { /* STEP update accept */
		begin(2);
		accept();
		finish()
	}
end:	false
}

proctype ending() {
	atomic { /* STEP ending begin */
		!control;
		begin(3);
		if
		:: linked && sa == LARVAL && ENDING == FLUSH && !OURS -> linked = false; orphaned = true; slot = 0; finish(); goto end
		:: linked && !(sa == LARVAL && ENDING == FLUSH && !OURS) && (sa == LARVAL || ENDING == DELETE || ENDING == FLUSH) ->
			linked = false; control = true; look()
		:: linked && sa == MATURE && ENDING == EXPIRE -> sa = DEAD; finish(); goto end
		:: else -> finish(); goto end
		fi
	}
	atomic { /* STEP ending bury */
		begin(3);
		sa = DEAD;
		if
		:: OURS || !taking -> slot = 0
		:: else
		fi;
		control = false;
		finish()
	}
end:	false
}

init {
	atomic {
		run packet(1);
		run packet(2);
		run update();
		if
		:: ENDING != NONE -> run ending()
		:: else
		fi
	}
end:	false
}
