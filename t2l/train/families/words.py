# ruff: noqa: E501, SIM905  (word lists are written as words, not as quoted strings)
"""Word material for the task families: our own lists, no rights reserved (CC0)."""

ANIMALS = tuple(
    "cat dog horse cow sheep goat pig rabbit fox wolf bear lion tiger monkey elephant giraffe zebra camel donkey mouse rat "
    "squirrel deer otter seal whale dolphin shark salmon frog snake lizard turtle duck goose swan owl eagle crow parrot "
    "pigeon penguin bee ant spider butterfly beetle crab snail hamster".split()
)
FRUITS = tuple(
    "apple banana lemon lime pear peach plum cherry grape mango melon fig apricot papaya pineapple coconut "
    "strawberry raspberry blueberry blackberry cranberry pomegranate grapefruit tangerine nectarine guava lychee".split()
)
VEGETABLES = tuple(
    "carrot potato tomato onion garlic cabbage lettuce spinach broccoli cauliflower pepper cucumber pumpkin bean pea radish "
    "turnip leek celery beetroot asparagus eggplant zucchini parsnip kale".split()
)
TOOLS = tuple(
    "hammer saw drill wrench pliers screwdriver chisel axe shovel rake ladder spade knife scissors ruler clamp file level "
    "crowbar mallet sander stapler tweezers trowel broom bucket sickle hoe anvil vise".split()
)
COLOURS = tuple(
    "red blue green yellow black white brown grey pink purple silver gold violet turquoise beige maroon navy crimson indigo "
    "teal magenta".split()
)
PLACES = tuple(
    "river garden market station school bridge church museum library harbour park kitchen office forest beach village castle "
    "airport hospital factory bakery stadium theatre lake tower hotel farm island valley mountain".split()
)
JOBS = tuple(
    "farmer teacher doctor nurse baker driver pilot sailor lawyer singer painter writer butcher carpenter plumber engineer "
    "chef waiter tailor gardener hunter soldier judge banker barber dentist actor librarian mechanic electrician".split()
)
CLOTHES = tuple(
    "shirt coat hat scarf glove sock shoe boot dress skirt jacket belt sweater tie vest cap sandal blouse jeans apron".split()
)
FURNITURE = tuple(
    "table chair bed sofa desk shelf lamp mirror carpet curtain cupboard stool bench drawer wardrobe cradle".split()
)
VEHICLES = tuple(
    "car bus train plane boat ship bicycle truck van tram taxi ferry scooter tractor helicopter canoe rocket".split()
)
BODY = tuple(
    "head arm leg hand foot knee elbow shoulder finger nose ear eye mouth neck back chest ankle wrist chin".split()
)
WEATHER = tuple(
    "rain snow wind storm fog sun cloud hail thunder lightning frost breeze drizzle rainbow hurricane".split()
)
MUSIC = tuple(
    "piano guitar violin drum flute trumpet cello harp clarinet saxophone banjo trombone accordion oboe".split()
)
SPORTS = tuple(
    "tennis football hockey golf rugby cricket boxing skiing rowing judo karate swimming cycling sailing archery".split()
)
METALS = tuple(
    "iron copper zinc tin lead nickel cobalt aluminium titanium platinum mercury tungsten chrome".split()
)
MATERIALS = tuple(
    "wood glass paper stone plastic leather cotton wool silk rubber brick clay concrete linen".split()
)
DRINKS = tuple("water milk tea coffee juice beer wine soda cocoa lemonade cider".split())

CATEGORIES: dict[str, tuple[str, ...]] = {
    "animal": ANIMALS,
    "fruit": FRUITS,
    "vegetable": VEGETABLES,
    "tool": TOOLS,
    "colour": COLOURS,
    "place": PLACES,
    "job": JOBS,
    "garment": CLOTHES,
    "furniture": FURNITURE,
    "vehicle": VEHICLES,
    "body part": BODY,
    "instrument": MUSIC,
    "sport": SPORTS,
    "drink": DRINKS,
}
CATEGORY_OF: dict[str, str] = {word: name for name, members in CATEGORIES.items() for word in members}

FIRST_NAMES = tuple(
    "Ana Ben Clara David Emma Felix Grace Hugo Irene Jack Karen Liam Maria Noah Olivia Peter Quinn Rosa Samuel Tina Ursula "
    "Victor Wendy Xavier Yara Zoe Adam Bella Carlos Diana Ethan Fiona George Hannah Ivan Julia Kevin Laura Martin Nina Oscar "
    "Paula Ralph Sara Thomas Uma Vera William Yusuf Zara Alice Boris Celia Daniel Elena Frank Gina Henry Isabel Jonas".split()
)
LAST_NAMES = tuple(
    "Adams Baker Carter Dixon Evans Fisher Garcia Harris Irving Jones Keller Lopez Miller Novak Owens Parker Quigley Rossi "
    "Silva Taylor Underwood Vargas Walker Xiong Young Zhang Abbott Brown Clark Duncan Ellis Foster Green Hughes Ito Jensen "
    "Klein Larsen Moore Nelson Ortiz Price Ramos Scott Turner Upton Vance Wright Yates Ziegler Allen Barnes Cohen Davis Edwards "
    "Ford Gray Hill Ibrahim Jordan".split()
)
CITIES = tuple(
    "Porto Berlin Madrid Paris Rome Oslo Vienna Lisbon Prague Dublin Athens Cairo Tokyo Lima Boston Denver Toronto Sydney "
    "Milan Geneva Krakow Seville Lyon Hamburg Leeds Bristol Nairobi Osaka Quito Havana".split()
)

# base -> (past, past participle, -ing form, third person)
VERBS: dict[str, tuple[str, str, str, str]] = {
    "watch": ("watched", "watched", "watching", "watches"),
    "follow": ("followed", "followed", "following", "follows"),
    "see": ("saw", "seen", "seeing", "sees"),
    "find": ("found", "found", "finding", "finds"),
    "paint": ("painted", "painted", "painting", "paints"),
    "draw": ("drew", "drawn", "drawing", "draws"),
    "feed": ("fed", "fed", "feeding", "feeds"),
    "chase": ("chased", "chased", "chasing", "chases"),
    "catch": ("caught", "caught", "catching", "catches"),
    "carry": ("carried", "carried", "carrying", "carries"),
    "wash": ("washed", "washed", "washing", "washes"),
    "hide": ("hid", "hidden", "hiding", "hides"),
    "buy": ("bought", "bought", "buying", "buys"),
    "sell": ("sold", "sold", "selling", "sells"),
    "lose": ("lost", "lost", "losing", "loses"),
    "forget": ("forgot", "forgotten", "forgetting", "forgets"),
    "choose": ("chose", "chosen", "choosing", "chooses"),
    "steal": ("stole", "stolen", "stealing", "steals"),
    "take": ("took", "taken", "taking", "takes"),
    "admire": ("admired", "admired", "admiring", "admires"),
    "help": ("helped", "helped", "helping", "helps"),
    "visit": ("visited", "visited", "visiting", "visits"),
    "photograph": ("photographed", "photographed", "photographing", "photographs"),
    "bring": ("brought", "brought", "bringing", "brings"),
}
ADJECTIVES = tuple(
    "old young big small happy sad fast slow strong weak clean dirty hungry thirsty noisy quiet tall short rich poor".split()
)
OPPOSITES: dict[str, str] = {
    "old": "young", "young": "old", "big": "small", "small": "big", "happy": "sad", "sad": "happy", "fast": "slow",
    "slow": "fast", "strong": "weak", "weak": "strong", "clean": "dirty", "dirty": "clean", "noisy": "quiet",
    "quiet": "noisy", "tall": "short", "short": "tall", "rich": "poor", "poor": "rich", "hot": "cold", "cold": "hot",
    "open": "closed", "closed": "open", "hard": "soft", "soft": "hard", "light": "dark", "dark": "light", "early": "late",
    "late": "early", "full": "empty", "empty": "full", "cheap": "expensive", "expensive": "cheap", "wet": "dry",
    "dry": "wet", "heavy": "light", "thick": "thin", "thin": "thick", "safe": "dangerous", "near": "far", "far": "near",
}  # fmt: skip
_IRREGULAR_PLURALS = {
    "sheep": "sheep", "mouse": "mice", "wolf": "wolves", "goose": "geese", "deer": "deer", "salmon": "salmon",
    "foot": "feet", "knife": "knives", "shelf": "shelves", "scissors": "scissors", "pliers": "pliers",
    "tweezers": "tweezers", "jeans": "jeans", "potato": "potatoes", "tomato": "tomatoes", "mango": "mangoes", "chef": "chefs",
}  # fmt: skip


def plural(noun: str) -> str:
    """English plural of a noun from these lists."""
    if noun in _IRREGULAR_PLURALS:
        return _IRREGULAR_PLURALS[noun]
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


MONTHS = tuple(
    "January February March April May June July August September October November December".split()
)
WEEKDAYS = tuple("Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split())
MONTHS_IN = {
    "Spanish": tuple(
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre".split()
    ),
    "French": tuple(
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split()
    ),
    "German": tuple(
        "Januar Februar März April Mai Juni Juli August September Oktober November Dezember".split()
    ),
}
WEEKDAYS_IN = {
    "Spanish": tuple("lunes martes miércoles jueves viernes sábado domingo".split()),
    "French": tuple("lundi mardi mercredi jeudi vendredi samedi dimanche".split()),
    "German": tuple("Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag".split()),
    "Chinese": tuple("星期一 星期二 星期三 星期四 星期五 星期六 星期日".split()),
}

# English -> (Spanish noun, gender, plural; French noun, gender, plural; German article, noun, plural; Chinese, classifier)
NOUNS: dict[str, tuple[str, str, str, str, str, str, str, str, str, str, str]] = {
    line.split(",")[0]: tuple(line.split(",")[1:])  # type: ignore[misc]
    for line in """\
cat,gato,m,gatos,chat,m,chats,die,Katze,Katzen,猫,只
dog,perro,m,perros,chien,m,chiens,der,Hund,Hunde,狗,只
horse,caballo,m,caballos,cheval,m,chevaux,das,Pferd,Pferde,马,匹
cow,vaca,f,vacas,vache,f,vaches,die,Kuh,Kühe,牛,头
bird,pájaro,m,pájaros,oiseau,m,oiseaux,der,Vogel,Vögel,鸟,只
fish,pez,m,peces,poisson,m,poissons,der,Fisch,Fische,鱼,条
mouse,ratón,m,ratones,souris,f,souris,die,Maus,Mäuse,老鼠,只
rabbit,conejo,m,conejos,lapin,m,lapins,das,Kaninchen,Kaninchen,兔子,只
bear,oso,m,osos,ours,m,ours,der,Bär,Bären,熊,只
fox,zorro,m,zorros,renard,m,renards,der,Fuchs,Füchse,狐狸,只
snake,serpiente,f,serpientes,serpent,m,serpents,die,Schlange,Schlangen,蛇,条
sheep,oveja,f,ovejas,mouton,m,moutons,das,Schaf,Schafe,羊,只
apple,manzana,f,manzanas,pomme,f,pommes,der,Apfel,Äpfel,苹果,个
pear,pera,f,peras,poire,f,poires,die,Birne,Birnen,梨,个
flower,flor,f,flores,fleur,f,fleurs,die,Blume,Blumen,花,朵
tree,árbol,m,árboles,arbre,m,arbres,der,Baum,Bäume,树,棵
house,casa,f,casas,maison,f,maisons,das,Haus,Häuser,房子,座
door,puerta,f,puertas,porte,f,portes,die,Tür,Türen,门,扇
window,ventana,f,ventanas,fenêtre,f,fenêtres,das,Fenster,Fenster,窗户,扇
table,mesa,f,mesas,table,f,tables,der,Tisch,Tische,桌子,张
chair,silla,f,sillas,chaise,f,chaises,der,Stuhl,Stühle,椅子,把
bed,cama,f,camas,lit,m,lits,das,Bett,Betten,床,张
lamp,lámpara,f,lámparas,lampe,f,lampes,die,Lampe,Lampen,灯,盏
book,libro,m,libros,livre,m,livres,das,Buch,Bücher,书,本
pencil,lápiz,m,lápices,crayon,m,crayons,der,Bleistift,Bleistifte,铅笔,支
key,llave,f,llaves,clé,f,clés,der,Schlüssel,Schlüssel,钥匙,把
bag,bolsa,f,bolsas,sac,m,sacs,die,Tasche,Taschen,包,个
cup,taza,f,tazas,tasse,f,tasses,die,Tasse,Tassen,杯子,个
plate,plato,m,platos,assiette,f,assiettes,der,Teller,Teller,盘子,个
knife,cuchillo,m,cuchillos,couteau,m,couteaux,das,Messer,Messer,刀,把
bottle,botella,f,botellas,bouteille,f,bouteilles,die,Flasche,Flaschen,瓶子,个
shirt,camisa,f,camisas,chemise,f,chemises,das,Hemd,Hemden,衬衫,件
hat,sombrero,m,sombreros,chapeau,m,chapeaux,der,Hut,Hüte,帽子,顶
shoe,zapato,m,zapatos,chaussure,f,chaussures,der,Schuh,Schuhe,鞋,只
car,coche,m,coches,voiture,f,voitures,das,Auto,Autos,汽车,辆
train,tren,m,trenes,train,m,trains,der,Zug,Züge,火车,列
boat,barco,m,barcos,bateau,m,bateaux,das,Boot,Boote,船,艘
bicycle,bicicleta,f,bicicletas,vélo,m,vélos,das,Fahrrad,Fahrräder,自行车,辆
ball,pelota,f,pelotas,balle,f,balles,der,Ball,Bälle,球,个
box,caja,f,cajas,boîte,f,boîtes,die,Kiste,Kisten,箱子,个
clock,reloj,m,relojes,horloge,f,horloges,die,Uhr,Uhren,钟,座
bridge,puente,m,puentes,pont,m,ponts,die,Brücke,Brücken,桥,座
""".splitlines()
}
# English -> (Spanish m, f (plural adds s); French m pl, f pl; German stem taking -e; Chinese). German: plural after a numeral.
COLOUR_WORDS: dict[str, tuple[str, str, str, str, str, str]] = {
    "red": ("rojos", "rojas", "rouges", "rouges", "rote", "红"),
    "black": ("negros", "negras", "noirs", "noires", "schwarze", "黑"),
    "white": ("blancos", "blancas", "blancs", "blanches", "weiße", "白"),
    "green": ("verdes", "verdes", "verts", "vertes", "grüne", "绿"),
    "yellow": ("amarillos", "amarillas", "jaunes", "jaunes", "gelbe", "黄"),
    "blue": ("azules", "azules", "bleus", "bleues", "blaue", "蓝"),
    "grey": ("grises", "grises", "gris", "grises", "graue", "灰"),
}

# country -> (capital, continent, main language, currency, demonym, Chinese name)
COUNTRIES: dict[str, tuple[str, str, str, str, str, str]] = {
    line.split(",")[0]: tuple(line.split(",")[1:])  # type: ignore[misc]
    for line in """\
France,Paris,Europe,French,euro,French,法国
Germany,Berlin,Europe,German,euro,German,德国
Spain,Madrid,Europe,Spanish,euro,Spanish,西班牙
Italy,Rome,Europe,Italian,euro,Italian,意大利
Portugal,Lisbon,Europe,Portuguese,euro,Portuguese,葡萄牙
Greece,Athens,Europe,Greek,euro,Greek,希腊
Austria,Vienna,Europe,German,euro,Austrian,奥地利
Sweden,Stockholm,Europe,Swedish,krona,Swedish,瑞典
Norway,Oslo,Europe,Norwegian,krone,Norwegian,挪威
Denmark,Copenhagen,Europe,Danish,krone,Danish,丹麦
Poland,Warsaw,Europe,Polish,zloty,Polish,波兰
Hungary,Budapest,Europe,Hungarian,forint,Hungarian,匈牙利
China,Beijing,Asia,Chinese,yuan,Chinese,中国
Japan,Tokyo,Asia,Japanese,yen,Japanese,日本
Thailand,Bangkok,Asia,Thai,baht,Thai,泰国
Vietnam,Hanoi,Asia,Vietnamese,dong,Vietnamese,越南
Mexico,Mexico City,North America,Spanish,peso,Mexican,墨西哥
Cuba,Havana,North America,Spanish,peso,Cuban,古巴
Brazil,Brasília,South America,Portuguese,real,Brazilian,巴西
Argentina,Buenos Aires,South America,Spanish,peso,Argentine,阿根廷
Chile,Santiago,South America,Spanish,peso,Chilean,智利
Peru,Lima,South America,Spanish,sol,Peruvian,秘鲁
Colombia,Bogotá,South America,Spanish,peso,Colombian,哥伦比亚
Egypt,Cairo,Africa,Arabic,pound,Egyptian,埃及
Morocco,Rabat,Africa,Arabic,dirham,Moroccan,摩洛哥
Australia,Canberra,Oceania,English,dollar,Australian,澳大利亚
Fiji,Suva,Oceania,English,dollar,Fijian,斐济
Ireland,Dublin,Europe,English,euro,Irish,爱尔兰
Iran,Tehran,Asia,Persian,rial,Iranian,伊朗
""".splitlines()
}
