package ipsec_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/ipsec"
)

// TestPublishedESP opens and seals whole ESP packets that RFCs and drafts print.
func TestPublishedESP(t *testing.T) {
	gcm := func(k, salt string, esn bool) ipsec.Suite {
		return ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESGCM, Key: ipsec.NewKey(unhex(k)),
			Salt: ipsec.NewKey(unhex(salt)), ESN: esn}
	}
	tests := []struct {
		name  string
		suite ipsec.Suite
		seqHi uint32
		esp   string
		plain string
	}{
		{
			name: "RFC 3602 case 5, AES-CBC",
			suite: ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESCBC,
				Key: ipsec.NewKey(unhex("90d382b410eeba7ad938c46cec1a82bf"))},
			esp: "00004321 00000001 e96e8c08ab465763fd098d45dd3ff893" +
				"f663c25d 325c18c6 a9453e19 4e120849 a4870b66 cc6b9965 330013b4 898dc856" +
				"a4699e52 3a55db08 0b59ec3a 8e4b7e52 775b07d1 db34ed9c 538ab50c 551b874a" +
				"a269add0 47ad2d59 13ac19b7 cfbad4a6",
			plain: "08000ebd a70a0000 8e9c083d b95b0700 08090a0b 0c0d0e0f 10111213 14151617" +
				"18191a1b 1c1d1e1f 20212223 24252627 28292a2b 2c2d2e2f 30313233 34353637" +
				"01020304 05060708 090a0b0c 0d0e0e01",
		},
		{
			name: "RFC 7634 appendix A, ChaCha20-Poly1305",
			suite: ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.ChaCha, Key: ipsec.NewKey(sequence(0x80, 32)),
				Salt: ipsec.NewKey(unhex("a0a1a2a3"))},
			esp: "01020304 00000005 1011121314151617" +
				"24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c614ee8099d52844eb61aa95dfab4c02f7" +
				"2aa71e7c4c4f64c9befe2facc638e8f3cbec163fac469b502773f6fb94e664da9165b82829f641e0" +
				"76aaa8266b7fb0f7b11b369907e1ad43",
			plain: "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec1000073627" +
				"08090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637" +
				"01020204",
		},
		{
			name:  "draft-mcgrew-gcm-test-01 case 1, ESN",
			suite: gcm("4c80cdefbb5d10da906ac73c3613a634", "2e443b68", true),
			seqHi: 0x87654321,
			esp: "00004321 00000000 4956ed7e3b244cfe" +
				"fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34cfa2436f14a3f3cf65925bf1f4a13c5d" +
				"15b21e1884f5ff6247aeabb786b93bce61bc17d768fd9732459018148f6cbe722fd04796562dfdb4",
			plain: "45000048699a000080114db7c0a80102c0a801010a9bf15638d301000001000000000000045f736970045f756470037369" +
				"700963796265726369747902646b000021000101020201",
		},
		{
			name:  "draft-mcgrew-gcm-test-01 case 2",
			suite: gcm("feffe9928665731c6d6a8f9467308308", "cafebabe", false),
			esp: "0000a5f8 0000000a facedbaddecaf888" +
				"deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f1ba76d5d114d2a5c3de81827c10e9a4f51330d0eec416642" +
				"cfbb85a5b47e48a4ec3b9ba95d918bd183b70d3aa8bc6ee4c309e9d85a41ad4a",
			plain: "4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d001000001000000000000037369700963796265" +
				"726369747902646b00000100010001",
		},
		{
			name:  "draft-mcgrew-gcm-test-01 case 3, 256 bits",
			suite: gcm("abbccddef00112233445566778899aababbccddef00112233445566778899aab", "11223344", false),
			esp: "4a2cbfe3 00000002 0102030405060708" +
				"ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763748a637985771d347f0545659f14e99d" +
				"ef842d8eb335f4eecfdbf831824b4c4915956c96",
			plain: "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee0000000007002400020bf0000020405b40101040201020201",
		},
		{
			name:  "draft-mcgrew-gcm-test-01, 192 bits",
			suite: gcm("feffe9928665731c6d6a8f9467308308feffe9928665731c", "cafebabe", false),
			esp: "0000a5f8 0000000a facedbaddecaf888" +
				"a5b1f8066029aea40e598b8122de02420938b3ab33f828e687b8858b5bfbdbd0315b27452144cc77" +
				"95457b9652037f5318027b5b4cd7a636",
			plain: "45000028a4ad4000400678800a01038f0a010612802306b8cb712602dd6bb03e501016d075680001",
		},
		{
			name:  "draft-mcgrew-gcm-test-01, empty payload",
			suite: gcm("7d773d00c144c525ac619d18c84a3f47", "d9664267", false),
			esp:   "335467ae ffffffff 43457e9182443bc6 437f866b cb3f699fe9b0822bac961c4504bef270",
			plain: "01020201",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			both(t, newTransform(t, tt.suite), unhex(tt.esp), unhex(tt.plain), tt.seqHi)
		})
	}
}

// both opens esp to plain, and seals the payload of plain to esp.
func both(t *testing.T, tr *ipsec.Transform, esp, plain []byte, seqHi uint32) {
	t.Helper()
	got, err := tr.OpenESP(nil, esp, seqHi)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(plain, got); diff != "" {
		t.Errorf("opened (-want +got):\n%s", diff)
	}
	_, next, _ := ipsec.Trailer(plain)
	s := ipsec.Sealing{SPI: be32(esp), Seq: uint64(seqHi)<<32 | uint64(be32(esp[4:])), IV: esp[8 : 8+tr.IVLen()]}
	got, err = tr.SealESP(nil, ipsec.Payload(plain), next, s)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(esp, got); diff != "" {
		t.Errorf("sealed (-want +got):\n%s", diff)
	}
}

func be32(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// TestOtherLibraries compares with libgcrypt 1.10 (CBC) and OpenSSL 3.0 (CTR and AEADs). Key 101112..., salt likewise,
// SPI c0de0001, sequence number 7, its high half 5 with ESN, IV a0a1a2..., payload 000102...2d, no padding, next header
// 4.
func TestOtherLibraries(t *testing.T) {
	tests := []struct {
		cipher *ipsec.Cipher
		key    int
		icv    int
		esn    bool
		sealed string
	}{
		{ipsec.DESCBC, 8, 0, false,
			"8d0554b2bc4d340f61db7f35b52f9e939d6921a5a10eb5c4499baab8c2be57ad1c93fddbb7da6516fc128f495e0609e5"},
		{ipsec.TripleDES, 24, 0, false,
			"b3c6195e3a45a3c5e92783f09b09e59dfb5977f2e58611829642ad30372dd695727f0702b9fb23e0f22f354e005e638b"},
		{ipsec.BlowfishCBC, 16, 0, false,
			"1b226932e497d31f5e9f43bde350649a955eeb4b2d3fd00246702062d294dc8ee2715eb422ad7d1f893282c22f61e932"},
		{ipsec.CAST128CBC, 16, 0, false,
			"150da8723fa886e61648bb367a16eb44ce03cae4d8e18bc2c6046dbd2b786b5797fbb3c1be5971c2aee997fd06f10d07"},
		{ipsec.TwofishCBC, 16, 0, false,
			"b0fdacbd85f597bb53b3b0567d7480c9213a8c890f5d0997a16e6fdf7cc522927a2cb425b946f7e84c75fa7320a2b512"},
		{ipsec.TwofishCBC, 32, 0, false,
			"527468ae9cbd16eb954f648cd3d21e0fde23473283ec0f7e78e486e49a7a1fdc60aeba86b628901c483f508b08c9f041"},
		{ipsec.SerpentCBC, 16, 0, false,
			"a8df55919efcf9b68815313fcabda8a6f99ee0735fa05b7297adbed9c7fd17e7c5829a26064a2f900ccc6b2259e531f8"},
		{ipsec.SerpentCBC, 24, 0, false,
			"eeb4789e7402c82064da6b74da527d2f4e0b153da7f2a665b1aab3187d8771fc1a6a74e79eb49b35a62b2db3fe43d442"},
		{ipsec.SerpentCBC, 32, 0, false,
			"c101ecff4b35aa8ef7a279fef802a0d6f0d13851ce472db958dbca5a0874f44c5d624097ed8ed44afa54d32f6263b6d0"},
		{ipsec.CamelliaCBC, 16, 0, false,
			"53496c2d6160e179bb4722c620210f7d1b5489396a2d87bde248122f9830b1cf332270313d7ba2f9cd789390b1e8e5f9"},
		{ipsec.CamelliaCBC, 24, 0, false,
			"b4c1f330b2ad19fbc9aa1cebeed32ecf684917a8ab6f2fc63fd0f62fc6235875dd8a4a980ded2365748471201c0e724f"},
		{ipsec.CamelliaCBC, 32, 0, false,
			"7683972f4966bfec92791c3e4e850a1e0f03ee533ae33d8c7c9c446272a11d408829ac2afac9a62b1cb0ac458b0870d2"},
		{ipsec.AESCBC, 16, 0, false,
			"3a5eb8fc7284be1035c8c6dc6c30aafa6dd5507a17590a411348b5c7e5d48d8c2b1ba3c7ab4af4d912322322293f9cc5"},
		{ipsec.AESCBC, 24, 0, false,
			"2b1cd12a47e68a55d291c7818fb3f3f5bfabc6edc849cc4bb8ecca99ffeb50012f558e64ba553112b66d814e4e4a1694"},
		{ipsec.AESCBC, 32, 0, false,
			"d1bd64350afc4700506c3a6bc097b5e42d28dbbb59cba6383ff5ad15e65ab3a8416f8779a44486fd03d135726008ae65"},
		{ipsec.AESCCM, 16, 8, false,
			"1f5423faf936f4db4d7b586860d05c1a2a355aafb034680fd596b1c475a8044e9f99702fa08d74fdda5aa3a4dbe229c8549d6cc4dd5e9bab"},
		{ipsec.AESCCM, 16, 12, false,
			"1f5423faf936f4db4d7b586860d05c1a2a355aafb034680fd596b1c475a8044e9f99702fa08d74fdda5aa3a4dbe229c87a407e0184b9c152d8a3eed2"},
		{ipsec.AESCCM, 16, 16, false,
			"1f5423faf936f4db4d7b586860d05c1a2a355aafb034680fd596b1c475a8044e9f99702fa08d74fdda5aa3a4dbe229c86bf76a02b0272e82f8c3d8c5d1828a0c"},
		{ipsec.AESCCM, 16, 16, true,
			"1f5423faf936f4db4d7b586860d05c1a2a355aafb034680fd596b1c475a8044e9f99702fa08d74fdda5aa3a4dbe229c8d425d41953b95819a9ddac6e85985a84"},
		{ipsec.AESCCM, 24, 8, false,
			"880e326a1de5abd81df12a8d0bcc2702a0b12bcf1457d8411da5b9db174295d04f820fe77185b827ad1c5c8e6498ff65e9951f0421b6247d"},
		{ipsec.AESCCM, 24, 12, false,
			"880e326a1de5abd81df12a8d0bcc2702a0b12bcf1457d8411da5b9db174295d04f820fe77185b827ad1c5c8e6498ff65934147a917141b53dbe25672"},
		{ipsec.AESCCM, 24, 12, true,
			"880e326a1de5abd81df12a8d0bcc2702a0b12bcf1457d8411da5b9db174295d04f820fe77185b827ad1c5c8e6498ff654b3355183118cb01a062ae57"},
		{ipsec.AESCCM, 24, 16, false,
			"880e326a1de5abd81df12a8d0bcc2702a0b12bcf1457d8411da5b9db174295d04f820fe77185b827ad1c5c8e6498ff65f09f14bbb2e54400cb521d953c6c995f"},
		{ipsec.AESCCM, 32, 8, false,
			"7355fb1ddb23602b39af31ddb45f6338adbfcf3c888773c6f4b6cbbf0f75819041729a5e665427b5b5ab37b549b8e053634ef79be93ff800"},
		{ipsec.AESCCM, 32, 8, true,
			"7355fb1ddb23602b39af31ddb45f6338adbfcf3c888773c6f4b6cbbf0f75819041729a5e665427b5b5ab37b549b8e05354aa32c92ab98d47"},
		{ipsec.AESCCM, 32, 12, false,
			"7355fb1ddb23602b39af31ddb45f6338adbfcf3c888773c6f4b6cbbf0f75819041729a5e665427b5b5ab37b549b8e053da673a2a8dc0a16e3e33d978"},
		{ipsec.AESCCM, 32, 16, false,
			"7355fb1ddb23602b39af31ddb45f6338adbfcf3c888773c6f4b6cbbf0f75819041729a5e665427b5b5ab37b549b8e0531373eee4fcfc46640bda683aa0faefac"},
		{ipsec.AESGCM, 16, 8, true,
			"9392e5a4335742cadc48f824f9b72ec4f5a636946be839c6335a0b1deefa68700fb75b347b776b15422cdc57a324a22b28991b77a4025bd2"},
		{ipsec.AESGCM, 16, 12, false,
			"9392e5a4335742cadc48f824f9b72ec4f5a636946be839c6335a0b1deefa68700fb75b347b776b15422cdc57a324a22b86bdccce42458b6dd3a636f1"},
		{ipsec.AESGCM, 16, 16, false,
			"9392e5a4335742cadc48f824f9b72ec4f5a636946be839c6335a0b1deefa68700fb75b347b776b15422cdc57a324a22b86bdccce42458b6dd3a636f1714e821e"},
		{ipsec.AESGCM, 24, 8, true,
			"a495d7594cf3a67b09f17bd709465fbec8d6bd6f7d49221cb5b11f0b7a88952a4ebec634f6430425e83b9fd73393f0122690c76af5c4ced2"},
		{ipsec.AESGCM, 24, 12, false,
			"a495d7594cf3a67b09f17bd709465fbec8d6bd6f7d49221cb5b11f0b7a88952a4ebec634f6430425e83b9fd73393f012b48c2f6e12cb4c30e50a91ca"},
		{ipsec.AESGCM, 24, 16, false,
			"a495d7594cf3a67b09f17bd709465fbec8d6bd6f7d49221cb5b11f0b7a88952a4ebec634f6430425e83b9fd73393f012b48c2f6e12cb4c30e50a91caa22ad703"},
		{ipsec.AESGCM, 32, 8, true,
			"f55481f512eff97d9b13b14d2bc24d3e568dd3165595084fab421f59e30f8a39c6732263f060d7f1d1fd359e645b4bc00e2f8e6ba4316453"},
		{ipsec.AESGCM, 32, 12, false,
			"f55481f512eff97d9b13b14d2bc24d3e568dd3165595084fab421f59e30f8a39c6732263f060d7f1d1fd359e645b4bc019eb66c451647fddb11391b7"},
		{ipsec.AESGCM, 32, 16, false,
			"f55481f512eff97d9b13b14d2bc24d3e568dd3165595084fab421f59e30f8a39c6732263f060d7f1d1fd359e645b4bc019eb66c451647fddb11391b79d35adeb"},
		{ipsec.AESGMAC, 16, 16, false,
			"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d000460ef7197984a0c6d0b17dc571b33c2d4"},
		{ipsec.ChaCha, 32, 16, false,
			"cae38e8a5df5032d0a6d08550e9b0983e306350966b547e2329ea02841685a0f428a241a926947afccfcc667088255beb17cdec612bce78c52f7a1fd9e7cb1f3"},
		{ipsec.AESGMAC, 16, 16, true,
			"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d0004abf02ec6591eea2165ca1ba7cfa2e0af"},
		{ipsec.ChaCha, 32, 16, true,
			"cae38e8a5df5032d0a6d08550e9b0983e306350966b547e2329ea02841685a0f428a241a926947afccfcc667088255be5c3524e2ff1092dcf60cdc561e43b61e"},
		{ipsec.AESCTR, 16, 0, false,
			"11271129f1ed95975181670a7c9e22308382f5b4234752dacc58e834e9a73ed4c59606a45bd809f6036a3b2ddeca766b"},
		{ipsec.AESCTR, 24, 0, false,
			"875108698d0780ab991dd7ae2387e6c3b485c7495ce3b66b19e16bc719564faef8e68d5f4d79122c85812f3b4ab88b31"},
		{ipsec.AESCTR, 32, 0, false,
			"092b6d1955c421814683a7814bf89efee54491e502ffe96d8b03a15d3bd25d2e66bde32665a5387f9b722f69d33f9422"},
	}
	for _, tt := range tests {
		s := ipsec.Suite{Proto: ipsec.ESP, Cipher: tt.cipher, Key: key(tt.key), Salt: key(tt.cipher.SaltLen),
			ICV: tt.icv, ESN: tt.esn}
		t.Run(s.String(), func(t *testing.T) {
			esp := append(unhex("c0de0001 00000007"), sequence(0xa0, tt.cipher.IVLen)...)
			both(t, newTransform(t, s), append(esp, unhex(tt.sealed)...), append(sequence(0, 46), 0, 4), 5)
		})
	}
}

// TestMACs feeds the messages of the RFCs as if they were ESP packets with NULL encryption, which are their own MAC
// input.
func TestMACs(t *testing.T) {
	jefe := []byte("what do ya want for nothing?")
	cmacKey := unhex("2b7e1516 28aed2a6 abf71588 09cf4f3c")
	cmacText := unhex(`6bc1bee2 2e409f96 e93d7e11 7393172a ae2d8a57 1e03ac9c 9eb76fac 45af8e51
		30c81c46 a35ce411 e5fbc119 1a0a52ef f69f2445 df4f9b17 ad2b417b e66c3710`)
	tests := []struct {
		name    string
		mac     *ipsec.MAC
		key     []byte
		message []byte
		want    string
	}{
		{"RFC 2202 MD5 2", ipsec.HMACMD5, []byte("Jefe"), jefe, "750c783e6ab0b503eaa86e310a5db738"},
		{"RFC 2202 SHA1 2", ipsec.HMACSHA1, []byte("Jefe"), jefe, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
		{"RFC 2286 RIPEMD-160 2", ipsec.HMACRIPEMD160, []byte("Jefe"), jefe,
			"dda6c0213a485a9e24f4742064a7f033b43c4069"},
		{"RFC 4231 SHA-256 2", ipsec.HMACSHA256, []byte("Jefe"), jefe,
			"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
		{"RFC 4231 SHA-384 2", ipsec.HMACSHA384, []byte("Jefe"), jefe,
			"af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649"},
		{"RFC 4231 SHA-512 2", ipsec.HMACSHA512, []byte("Jefe"), jefe,
			"164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"},
		{"RFC 3566 XCBC 3", ipsec.AESXCBC, sequence(0, 16), sequence(0, 16), "d2a246fa349b68a79998a4394ff7a263"},
		{"RFC 3566 XCBC 4", ipsec.AESXCBC, sequence(0, 16), sequence(0, 20), "47f51b4564966215b8985c63055ed308"},
		{"RFC 3566 XCBC 5", ipsec.AESXCBC, sequence(0, 16), sequence(0, 32), "f54f0ec8d2b9f3d36807734bd5283fd4"},
		{"RFC 3566 XCBC 6", ipsec.AESXCBC, sequence(0, 16), sequence(0, 34), "becbb3bccdb518a30677d5481fb6b4d8"},
		{"RFC 3566 XCBC 7", ipsec.AESXCBC, sequence(0, 16), make([]byte, 1000), "f0dafee895db30253761103b5d84528f"},
		{"RFC 4493 CMAC 2", ipsec.AESCMAC, cmacKey, cmacText[:16], "070a16b46b4d4144f79bdd9dd04a287c"},
		{"RFC 4493 CMAC 3", ipsec.AESCMAC, cmacKey, cmacText[:40], "dfa66747de9ae63030ca32611497c827"},
		{"RFC 4493 CMAC 4", ipsec.AESCMAC, cmacKey, cmacText, "51f0bebf7e3b9d92fc49741779363cfe"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			full := unhex(tt.want)
			for _, icv := range []int{1, tt.mac.ICV, tt.mac.Size} {
				tr := newTransform(t, ipsec.Suite{Proto: ipsec.ESP, MAC: tt.mac, AuthKey: ipsec.NewKey(tt.key),
					ICV: icv})
				esp := append(tt.message[:len(tt.message):len(tt.message)], full[:icv]...)
				plain, err := tr.OpenESP(nil, esp, 0)
				if err != nil {
					t.Fatalf("ICV of %d bytes: %v", icv, err)
				}
				if diff := cmp.Diff(tt.message[8:], plain); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				esp[len(esp)-1] ^= 1
				if _, err := tr.OpenESP(nil, esp, 0); err != ipsec.ErrICV {
					t.Errorf("ICV of %d bytes with its last bit flipped: %v", icv, err)
				}
			}
		})
	}
}
